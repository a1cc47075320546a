//! Limiter cells for tollgate in memory that worker processes share: offsets and lock-free atomics only.
