//! Compressing the raw bytes of a block, and getting them back within a bound.

use std::io::{Read, Write};

use crate::error::{Code, Error, Result};

/// How the bytes of a data block are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum Codec {
    /// As they are.
    None = 0,
    /// One zstd frame.
    #[default]
    Zstd = 1,
    /// One gzip member.
    Gzip = 2,
}

impl Codec {
    /// The codec of this number, if there is one.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        [Self::None, Self::Zstd, Self::Gzip].into_iter().find(|codec| *codec as u8 == number)
    }
}

/// Compresses blocks; keeps the compressor's tables from one to the next.
pub(super) struct Compressor {
    codec: Codec,
    level: i32,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    stored: Vec<u8>,
}

impl Compressor {
    /// A compressor of this codec; levels that the codec does not have become the nearest it has.
    pub(super) fn new(codec: Codec, level: i32) -> Result<Self> {
        let zstd = match codec {
            Codec::Zstd => Some(zstd::bulk::Compressor::new(level).map_err(|error| failed(&error))?),
            Codec::None | Codec::Gzip => None,
        };
        Ok(Self { codec, level, zstd, stored: Vec::new() })
    }

    /// The bytes to store, and their codec: none if compressing does not make them fewer.
    pub(super) fn compress<'a>(&'a mut self, raw: &'a [u8]) -> Result<(Codec, &'a [u8])> {
        self.stored.clear();
        match (self.codec, &mut self.zstd) {
            (Codec::Zstd, Some(zstd)) => {
                let bound = zstd::zstd_safe::compress_bound(raw.len());
                if self.stored.try_reserve(bound).is_err() {
                    let message = format!("no memory to compress a block of {} bytes", raw.len());
                    return Err(Error::new(Code::NoMemory, message).with("bytes", bound));
                }
                zstd.compress_to_buffer(raw, &mut self.stored).map_err(|error| failed(&error))?;
            }
            (Codec::Gzip, _) => {
                let level = flate2::Compression::new(self.level.clamp(1, 9) as u32);
                let mut encoder = flate2::write::GzEncoder::new(&mut self.stored, level);
                encoder.write_all(raw).and_then(|()| encoder.try_finish()).map_err(|error| failed(&error))?;
            }
            _ => return Ok((Codec::None, raw)),
        }
        Ok(if self.stored.len() < raw.len() { (self.codec, &self.stored) } else { (Codec::None, raw) })
    }
}

fn failed(error: &std::io::Error) -> Error {
    Error::new(Code::InternalError, format!("compressing a block failed: {error}"))
}

/// Decompresses blocks; keeps the decompressor's tables from one to the next.
#[derive(Default)]
pub(super) struct Decompressor {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl Decompressor {
    /// Puts the raw bytes into `raw`; false unless they are exactly as many as stated. Never takes more memory
    /// than that, which the caller has bounded.
    pub(super) fn decompress(
        &mut self,
        codec: Codec,
        stored: &[u8],
        length: usize,
        raw: &mut Vec<u8>,
    ) -> bool {
        raw.clear();
        if raw.try_reserve_exact(length).is_err() {
            return false;
        }
        match codec {
            Codec::None if stored.len() == length => raw.extend_from_slice(stored),
            Codec::None => return false,
            Codec::Gzip => {
                // One byte more than stated is enough to see that there is more.
                let decoder = flate2::read::GzDecoder::new(stored);
                if decoder.take(length as u64 + 1).read_to_end(raw).is_err() {
                    return false;
                }
            }
            Codec::Zstd => {
                if self.zstd.is_none() {
                    self.zstd = zstd::bulk::Decompressor::new().ok();
                }
                // It fills the capacity at most, which may be more than was asked for.
                let done = self.zstd.as_mut().and_then(|zstd| zstd.decompress_to_buffer(stored, raw).ok());
                if done.is_none() {
                    return false;
                }
            }
        }
        raw.len() == length
    }
}
