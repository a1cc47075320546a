//! CRC-32 (IEEE 802.3).

#[cfg(not(feature = "small"))]
pub(crate) use crc32fast::hash as crc32;

/// The tables of `crc32fast` are 16 KiB that do not compress: an eighth of what a browser fetches.
#[cfg(feature = "small")]
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    static CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    CRC.checksum(bytes)
}
