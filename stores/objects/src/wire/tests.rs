//! Any message comes through; what is none does no harm.

use tollgate::{Limit, Partition};

/// A limit, which only a policy or bytes make.
pub(crate) fn limit(partition: Partition) -> Limit {
    let text = ("calls", 7_u64, partition, (10_u64, 1_000_u64, 10_u64));
    let rest = (tollgate::Algorithm::Gcra, tollgate::Counts::Requests, 1_u64, false, false);
    let bytes = postcard::to_allocvec(&(text, rest, tollgate::FailureMode::Closed)).unwrap();
    postcard::from_bytes(&bytes).unwrap()
}
