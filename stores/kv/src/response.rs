//! Claims as records. Their bytes are those that [`Claim`] itself would give; but bodies are written
//! and read as a whole, and not byte by byte.

use std::fmt;
use std::sync::Arc;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tollgate::{Claim, Fingerprint, ReservationId, StoredResponse};

#[derive(Serialize, Deserialize)]
#[serde(remote = "Claim")]
pub(crate) struct ClaimRecord {
    fingerprint: Fingerprint,
    fence: ReservationId,
    lease_until_ms: u64,
    expires_ms: u64,
    #[serde(serialize_with = "write", deserialize_with = "read")]
    response: Option<Arc<StoredResponse>>,
}

#[derive(Serialize)]
struct Written<'r> {
    status: u16,
    headers: Vec<(&'r str, Lent<'r>)>,
    body: Option<Lent<'r>>,
}

#[derive(Deserialize)]
struct Found {
    status: u16,
    headers: Vec<(Box<str>, Owned)>,
    body: Option<Owned>,
}

struct Lent<'r>(&'r [u8]);

struct Owned(Box<[u8]>);

fn write<S: Serializer>(
    response: &Option<Arc<StoredResponse>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let written = response.as_ref().map(|response| Written {
        status: response.status,
        headers: response.headers.iter().map(|(name, value)| (&**name, Lent(value))).collect(),
        body: response.body.as_deref().map(Lent),
    });
    written.serialize(serializer)
}

fn read<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Arc<StoredResponse>>, D::Error> {
    let found = Option::<Found>::deserialize(deserializer)?;
    Ok(found.map(|found| {
        let headers = found.headers.into_iter().map(|(name, value)| (name, value.0)).collect();
        let body = found.body.map(|body| body.0);
        Arc::new(StoredResponse { status: found.status, headers, body })
    }))
}

impl Serialize for Lent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de> Deserialize<'de> for Owned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Owned;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Owned, E> {
                Ok(Owned(bytes.into()))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Whole(#[serde(with = "ClaimRecord")] Claim);

    fn claim(body: Option<Box<[u8]>>) -> Claim {
        let headers = Box::new([("a".into(), b"b"[..].into()), ("".into(), b""[..].into())]);
        let response = StoredResponse { status: 500, headers, body };
        Claim {
            fingerprint: Fingerprint([1; 32]),
            fence: ReservationId(7),
            lease_until_ms: 8,
            expires_ms: u64::MAX,
            response: Some(Arc::new(response)),
        }
    }

    #[test]
    fn the_bytes_are_those_of_a_claim() {
        let mut claims =
            [None, Some(b""[..].into()), Some(vec![7; 300].into())].map(claim).to_vec();
        claims.push(Claim { response: None, ..claims[0].clone() });
        for claim in claims {
            let bytes = postcard::to_allocvec(&Whole(claim.clone())).unwrap();
            assert_eq!(bytes, postcard::to_allocvec(&claim).unwrap());
            let Whole(found) = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(found, claim);
            assert!(postcard::from_bytes::<Whole>(&bytes[..bytes.len() - 1]).is_err());
        }
    }
}
