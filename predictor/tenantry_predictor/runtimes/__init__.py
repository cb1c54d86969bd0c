"""What runs models: one file a runtime, behind one abstraction."""

from tenantry_predictor.runtimes.base import LoadedModel, Model

__all__ = ["LoadedModel", "Model"]
