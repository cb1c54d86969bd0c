"""Ask a router for predictions: `Client`, and `AsyncClient` for asyncio.

    with tenantry.Client("http://127.0.0.1:8080", tenant="acme") as client:
        minutes = client.predict("user-42", rows)

operations.py       what can be asked, without input and output; both clients carry it out
requests.py         the requests; attempts.py: their deadline, and the one retry
tables.py           DataFrames, records and arrays to requests and back; tensors.py: tensors
answers.py          what a request brought back
errors.py           what is raised
sync.py             with httpx.Client; asynchronous.py: with httpx.AsyncClient

It needs httpx and pandas only: `pip install 'tenantry[client]'`.
"""
