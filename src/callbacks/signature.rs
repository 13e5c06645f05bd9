//! Standard Webhooks 1.0: three headers that show a receiver who sent a callback, and that it is not a replay of an old
//! one.

use std::time::Duration;

use crate::clients::secret::Secret;

/// The headers for one call. Several secrets give several signatures, so that a receiver can change its secret without a
/// gap; without a secret there is no signature.
pub fn headers(
    secrets: &[Secret],
    id: &str,
    since_1970: Duration,
    body: &str,
) -> Vec<(&'static str, String)> {
    let timestamp = since_1970.as_secs();
    let signatures: Vec<String> = secrets
        .iter()
        .filter_map(|secret| secret.sign(id, timestamp, body))
        .collect();
    let mut headers = vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", timestamp.to_string()),
    ];
    if !signatures.is_empty() {
        headers.push(("webhook-signature", signatures.join(" ")));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked out with Python's hmac and base64.
    #[test]
    fn the_signature_is_the_hmac_of_id_timestamp_and_body() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let headers = headers(
            &[secret.clone(), secret],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            Duration::from_millis(1_614_265_330_999),
            r#"{"test": 2432232314}"#,
        );
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(
            headers[0],
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned())
        );
        assert_eq!(headers[1], ("webhook-timestamp", "1614265330".to_owned()));
        assert_eq!(
            headers[2],
            ("webhook-signature", format!("{expected} {expected}"))
        );
    }
}
