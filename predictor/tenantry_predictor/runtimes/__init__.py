"""What runs models: one file a runtime, behind one abstraction."""
