//! Inventories: YAML or JSON of Kubernetes objects in files, the offline twin of the API server.
