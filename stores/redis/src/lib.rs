//! tollgate store on Redis and Valkey, also Cluster: one server-side script per command.
