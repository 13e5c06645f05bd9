//! The one table that gives each kind of problem its status.

use axum::http::StatusCode;

/// The kind of a problem; it decides the answer's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The body is not JSON.
    MalformedJson,
    /// A header, the query or the body's transfer is wrong.
    BadRequest,
    /// No API key, or an unknown one.
    Unauthorized,
    /// A webhook without a valid signature.
    NotGenuine,
    /// A form that was posted from another site.
    CrossSite,
    /// No such address, no such payment, or another client's payment.
    NotFound,
    /// The address exists, but not with this method.
    MethodNotAllowed,
    /// The body did not arrive in time.
    Timeout,
    /// The payment's state forbids it.
    Conflict,
    /// The body is longer than [`crate::http::body::LIMIT`].
    TooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The body is compressed.
    ContentCoding,
    /// `Expect` has an unknown expectation.
    Expectation,
    /// The request line and the headers are too long.
    HeadTooLarge,
    /// The body has a transfer coding other than `chunked`.
    TransferCoding,
    /// Fields of the body are invalid.
    InvalidFields,
    /// The idempotency key was used for another request.
    KeyReused,
    /// This client has too many requests under way.
    TooManyRequests,
    /// The service is overloaded.
    Overloaded,
    /// An internal error.
    Internal,
    /// The payment is quarantined; an operator has to repair it.
    Quarantined,
    /// The store cannot be used at the moment.
    Unavailable,
    /// No payment ids are left; an operator has to raise the limit.
    Exhausted,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 23] = [
        Self::MalformedJson,
        Self::BadRequest,
        Self::Unauthorized,
        Self::NotGenuine,
        Self::CrossSite,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Timeout,
        Self::Conflict,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::ContentCoding,
        Self::Expectation,
        Self::HeadTooLarge,
        Self::TransferCoding,
        Self::InvalidFields,
        Self::KeyReused,
        Self::TooManyRequests,
        Self::Overloaded,
        Self::Internal,
        Self::Quarantined,
        Self::Unavailable,
        Self::Exhausted,
    ];

    /// The table: status, name within the problem's `type`, `title`.
    pub(super) fn row(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedJson => (S::BAD_REQUEST, "malformed-json", "The body is not JSON"),
            Self::BadRequest => (S::BAD_REQUEST, "bad-request", "The request is malformed"),
            Self::Unauthorized => (S::UNAUTHORIZED, "unauthorized", "An API key is needed"),
            Self::NotGenuine => (
                S::UNAUTHORIZED,
                "webhook-not-genuine",
                "The webhook's signature is not valid",
            ),
            Self::CrossSite => (
                S::FORBIDDEN,
                "cross-site",
                "The form came from another site",
            ),
            Self::NotFound => (S::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
            ),
            Self::Timeout => (S::REQUEST_TIMEOUT, "timeout", "The body came too slowly"),
            Self::Conflict => (S::CONFLICT, "conflict", "The payment's state forbids this"),
            Self::TooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "body-too-large",
                "The body is too large",
            ),
            Self::UnsupportedMediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body must be JSON",
            ),
            Self::ContentCoding => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-content-coding",
                "The body must not be compressed",
            ),
            Self::Expectation => (
                S::EXPECTATION_FAILED,
                "unknown-expectation",
                "The expectation is unknown",
            ),
            Self::HeadTooLarge => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head-too-large",
                "The request line and the headers are too large",
            ),
            Self::TransferCoding => (
                S::NOT_IMPLEMENTED,
                "unsupported-transfer-coding",
                "The transfer coding is unknown",
            ),
            Self::InvalidFields => (S::UNPROCESSABLE_ENTITY, "invalid-fields", "Invalid fields"),
            Self::KeyReused => (
                S::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "The idempotency key belongs to another request",
            ),
            Self::TooManyRequests => (
                S::TOO_MANY_REQUESTS,
                "too-many-requests",
                "Too many requests of this client are under way",
            ),
            Self::Overloaded => (
                S::SERVICE_UNAVAILABLE,
                "overloaded",
                "The service is overloaded",
            ),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::Quarantined => (
                S::INTERNAL_SERVER_ERROR,
                "payment-quarantined",
                "The payment is quarantined",
            ),
            Self::Unavailable => (S::SERVICE_UNAVAILABLE, "unavailable", "Not available now"),
            Self::Exhausted => (
                S::SERVICE_UNAVAILABLE,
                "ids-exhausted",
                "No payment ids are left",
            ),
        }
    }

    /// The answer's status.
    pub fn status(self) -> StatusCode {
        self.row().0
    }

    /// The name within the problem's `type`.
    pub(super) fn name(self) -> &'static str {
        self.row().1
    }

    /// The same for every problem of this kind.
    pub fn title(self) -> &'static str {
        self.row().2
    }

    /// After how many seconds to try again.
    pub(super) fn retry_after(self) -> Option<u16> {
        match self {
            Self::TooManyRequests | Self::Overloaded => Some(1),
            Self::Unavailable => Some(2),
            Self::Exhausted => Some(3600),
            _ => None,
        }
    }
}
