"""Bring a trained model to where predictors read it: converted, compared, under its digest, with its card.

    published = tenantry.publish(model, tenant="acme", sample=rows, to="s3://models")
    published.manifest()

publisher.py    what users call: encode, upload, describe
encoding.py     which kind of model it is; one file for each kind beside it
card.py         the model card
store.py        S3 and folders
files.py        models and samples from files; mlflow_folder.py: from MLflow
"""
