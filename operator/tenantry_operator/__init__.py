"""Observe TenantModels and slots, plan placement purely, apply it elsewhere."""
