//! A caller's socket. It adds a body to hyper's own error answers.
//!
//! If hyper cannot read a request head, it answers itself, with a status and no body, and has no option to change that.
//! Such an answer is recognized by its form when it is written, and completed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::http::problem::{Kind, Problem};

/// Longer than any head that hyper writes for its own error answers.
const LONGEST_REFUSAL: usize = 256;

#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    /// What is still to be written instead of hyper's own error answer.
    refusal: Vec<u8>,
    closed_for_writing: bool,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            refusal: Vec::new(),
            closed_for_writing: false,
        }
    }

    /// Answers the preface of HTTP/2, at which hyper closes the connection without an answer.
    pub(super) async fn refuse_http_2(&mut self) {
        let head = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n".to_owned();
        self.refusal = completed(head, &unreadable()).unwrap_or_default();
        if let Err(error) = self.shutdown().await {
            tracing::debug!(%error, "a refusal could not be written");
        }
    }

    /// The stream, if this side has closed it for writing: the caller may still be sending.
    pub(super) fn half_closed(self) -> Option<TcpStream> {
        self.closed_for_writing.then_some(self.stream)
    }

    fn poll_refusal(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.refusal.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.refusal))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.refusal.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_refusal(context))?;
        match own_refusal(bytes) {
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
            // The answer to the previous request comes before it.
            Some((begin @ 1.., _)) => {
                Pin::new(&mut self.stream).poll_write(context, &bytes[..begin])
            }
            Some((0, refusal)) => {
                self.refusal = refusal;
                Poll::Ready(Ok(bytes.len()))
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let filled = slices.iter().rposition(|slice| !slice.is_empty());
        let Some((last, before)) = filled.and_then(|last| slices[..=last].split_last()) else {
            return Poll::Ready(Ok(0));
        };
        if before.iter().all(|slice| slice.is_empty()) {
            return self.poll_write(context, last);
        }
        ready!(self.poll_refusal(context))?;
        let now = if own_refusal(last).is_some() {
            before
        } else {
            slices
        };
        Pin::new(&mut self.stream).poll_write_vectored(context, now)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(context))?;
        self.closed_for_writing = true;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Where an error answer of hyper's own begins near the end of these bytes, and what to write instead. It has only a
/// status line, `connection`, `content-length: 0` and `date`; error answers of this service always have a content type.
fn own_refusal(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let tail = bytes.len().saturating_sub(LONGEST_REFUSAL);
    let last = bytes.get(tail..)?;
    if !last.ends_with(b"\r\n\r\n") {
        return None;
    }
    let begin = last
        .windows(7)
        .rposition(|window| window == b"HTTP/1.".as_slice())?;
    let head = std::str::from_utf8(&last[begin..]).ok()?;
    let mut lines = head.trim_end().split("\r\n");
    let status_line = lines.next()?;
    let problem = match status_line.split(' ').nth(1)? {
        "400" => unreadable(),
        "431" => too_large(),
        _ => return None,
    };
    let mut is_empty = false;
    let mut kept = format!("{status_line}\r\n");
    for line in lines {
        match line.split(':').next()? {
            "content-length" if line == "content-length: 0" => is_empty = true,
            "connection" | "date" => kept.extend([line, "\r\n"]),
            _ => return None,
        }
    }
    let refusal = completed(kept, &problem)?;
    is_empty.then_some((tail + begin, refusal))
}

fn completed(mut head: String, problem: &Problem) -> Option<Vec<u8>> {
    let body = serde_json::to_string(&problem.document()).ok()?;
    let length = body.len();
    head.push_str(&format!(
        "content-type: application/problem+json\r\ncache-control: no-store\r\ncontent-length: {length}\r\n\r\n{body}"
    ));
    Some(head.into_bytes())
}

fn unreadable() -> Problem {
    let sentence = "The request is not well-formed HTTP/1.1: check its request line, its header lines, \
                    Content-Length and Transfer-Encoding.";
    Problem::new(Kind::BadRequest, sentence)
}

/// The answer to a request head beyond the limits.
pub(in crate::http) fn too_large() -> Problem {
    let sentence = "The request line and the headers are longer than 16 KiB together, or there are more than 100 headers.";
    Problem::new(Kind::HeadTooLarge, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSAL: &str =
        "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: D\r\n\r\n";

    fn begin(bytes: &str) -> Option<usize> {
        own_refusal(bytes.as_bytes()).map(|(begin, _)| begin)
    }

    #[test]
    fn an_empty_error_response_gets_a_body_and_keeps_its_other_headers() {
        let (begin, written) = own_refusal(REFUSAL.as_bytes()).expect("a refusal");
        assert_eq!(begin, 0);
        let written = String::from_utf8(written).expect("text");
        let (head, body) = written.split_once("\r\n\r\n").expect("a head and a body");
        assert!(
            head.starts_with("HTTP/1.1 400 Bad Request\r\nconnection: close\r\ndate: D\r\n"),
            "{head}"
        );
        assert!(head.ends_with(&format!("content-length: {}", body.len())));
        let document: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(document["status"], 400);
    }

    #[test]
    fn an_empty_error_response_is_found_behind_another_response() {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(begin(&format!("{answer}{REFUSAL}")), Some(answer.len()));
        let long = format!("{}{REFUSAL}", "x".repeat(10_000));
        assert_eq!(begin(&long), Some(10_000));
    }

    #[test]
    fn other_responses_are_not_changed() {
        for other in [
            String::new(),
            "\r\n\r\n".to_owned(),
            "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
            REFUSAL.replace("400", "404"),
            REFUSAL.replace("length: 0", "length: 4"),
            REFUSAL.replace("date", "content-type: text/plain\r\ndate"),
            REFUSAL.replace("content-length: 0\r\n", ""),
            format!("{REFUSAL}{{}}"),
        ] {
            assert_eq!(begin(&other), None, "{other}");
        }
    }
}
