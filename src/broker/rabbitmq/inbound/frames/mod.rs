//! Cleans AMQP 0-9-1 frames as bytes arrive: texts become UTF-8, headers are limited, and of a body that is too long only
//! the first part is passed on.
//!
//! A frame is a type (1 byte), a channel (2), a size (4), a payload of that size, and an end mark (1).

use std::collections::HashMap;

use super::header;
use crate::broker::{KEPT_BODY_BYTES, LONGEST_BODY_BYTES};

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const FRAME_END: u8 = 0xce;
const HEAD: usize = 7;

/// No broker sends frames longer than negotiated (128 KiB); anything that claims to be longer than this is not a frame.
const LONGEST_FRAME: usize = 16 * 1024 * 1024;

/// What to do with the next bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Collect this many bytes of a frame, including the head.
    Collect(usize),
    /// A body frame: pass bytes on, then add the end mark if it was shortened, then drop bytes.
    Body { pass: usize, end: bool, drop: usize },
    /// Not AMQP (a broker that refuses the version): pass everything on, so that lapin reports it.
    Unknown,
}

/// Cleans a connection's incoming bytes.
#[derive(Debug)]
pub(super) struct Cleaner {
    next: Next,
    collected: Vec<u8>,
    /// Channels whose current body is being shortened, with the number of bytes that may still be passed on.
    shortened: HashMap<u16, usize>,
}

impl Default for Cleaner {
    fn default() -> Self {
        Self {
            next: Next::Collect(HEAD),
            collected: Vec::new(),
            shortened: HashMap::new(),
        }
    }
}

impl Cleaner {
    /// Takes received bytes and appends the clean ones.
    pub(super) fn push(&mut self, mut received: &[u8], clean: &mut Vec<u8>) {
        while !received.is_empty() {
            received = match self.next {
                Next::Collect(size) => self.collect(size, received, clean),
                Next::Body { pass, end, drop } => self.body(pass, end, drop, received, clean),
                Next::Unknown => {
                    clean.extend_from_slice(received);
                    &[]
                }
            };
        }
    }

    fn collect<'r>(&mut self, size: usize, received: &'r [u8], clean: &mut Vec<u8>) -> &'r [u8] {
        let missing = size - self.collected.len();
        let (taken, rest) = received.split_at(missing.min(received.len()));
        self.collected.extend_from_slice(taken);
        if self.collected.len() == size {
            if size == HEAD {
                self.begin(clean);
            } else {
                self.complete(clean);
            }
        }
        rest
    }

    /// Handles the head of a frame.
    fn begin(&mut self, clean: &mut Vec<u8>) {
        let [kind, c0, c1, s0, s1, s2, s3] = self.collected[..] else {
            return;
        };
        let channel = u16::from_be_bytes([c0, c1]);
        let size = u32::from_be_bytes([s0, s1, s2, s3]) as usize;
        self.next = match kind {
            METHOD | HEADER if size <= LONGEST_FRAME => {
                self.next = Next::Collect(HEAD + size + 1);
                return;
            }
            HEARTBEAT if size <= LONGEST_FRAME => pass_on(&self.collected, size, clean),
            BODY if size <= LONGEST_FRAME => match self.shortened.get_mut(&channel) {
                None => pass_on(&self.collected, size, clean),
                Some(left) => {
                    let kept = size.min(*left);
                    *left -= kept;
                    shorten(channel, kept, size, clean)
                }
            },
            _ => {
                clean.extend_from_slice(&self.collected);
                Next::Unknown
            }
        };
        self.collected.clear();
    }

    /// Handles a completely collected frame that is not a body.
    fn complete(&mut self, clean: &mut Vec<u8>) {
        let mut frame = std::mem::take(&mut self.collected);
        self.next = Next::Collect(HEAD);
        frame.pop();
        let channel = u16::from_be_bytes([frame[1], frame[2]]);
        let mut payload = frame.split_off(HEAD);
        if frame[0] == HEADER {
            let (cleaned, size) = header::cleaned(&payload);
            payload = cleaned;
            if size > LONGEST_BODY_BYTES as u64 {
                self.shortened.insert(channel, KEPT_BODY_BYTES);
            } else {
                self.shortened.remove(&channel);
            }
        } else {
            header::clean_method(&mut payload);
        }
        let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        clean.extend_from_slice(&frame[..3]);
        clean.extend_from_slice(&size.to_be_bytes());
        clean.extend_from_slice(&payload);
        clean.push(FRAME_END);
    }

    fn body<'r>(
        &mut self,
        pass: usize,
        end: bool,
        drop: usize,
        received: &'r [u8],
        clean: &mut Vec<u8>,
    ) -> &'r [u8] {
        let (passed, rest) = received.split_at(pass.min(received.len()));
        clean.extend_from_slice(passed);
        let pass = pass - passed.len();
        if pass > 0 {
            self.next = Next::Body { pass, end, drop };
            return rest;
        }
        if end {
            clean.push(FRAME_END);
        }
        let (dropped, rest) = rest.split_at(drop.min(rest.len()));
        let drop = drop - dropped.len();
        self.next = if drop > 0 {
            Next::Body {
                pass: 0,
                end: false,
                drop,
            }
        } else {
            Next::Collect(HEAD)
        };
        rest
    }
}

/// Passes on the unchanged frame, including its end mark.
fn pass_on(head: &[u8], size: usize, clean: &mut Vec<u8>) -> Next {
    clean.extend_from_slice(head);
    Next::Body {
        pass: size + 1,
        end: false,
        drop: 0,
    }
}

/// Passes on a frame with the first `kept` bytes, or no frame.
fn shorten(channel: u16, kept: usize, size: usize, clean: &mut Vec<u8>) -> Next {
    if kept > 0 {
        clean.push(BODY);
        clean.extend_from_slice(&channel.to_be_bytes());
        clean.extend_from_slice(&u32::try_from(kept).unwrap_or(u32::MAX).to_be_bytes());
    }
    Next::Body {
        pass: kept,
        end: kept > 0,
        drop: size - kept + 1,
    }
}

#[cfg(test)]
mod tests;
