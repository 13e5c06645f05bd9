//! What an operator writes: URLs with passwords, keys, the clients file.
//!
//! Whatever is in them: nothing panics, and neither an error nor `Debug` repeats a password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use payment_service::broker::rabbitmq::parse_urls;
use payment_service::vault::SealKeys;
use payment_service::clients::Clients;
use payment_service::store::mysql::parse_url;

const PASSWORD: &str = "h0nter2";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = Clients::parse(data);
    if let Err(error) = SealKeys::parse(text) {
        assert!(!error.to_string().contains(PASSWORD));
    }
    for url in [
        text.to_owned(),
        format!("mysql://user:{PASSWORD}{text}"),
        format!("amqp://user:{PASSWORD}{text}"),
        format!("amqps://user:{PASSWORD}@{text}"),
    ] {
        let said = match parse_url(&url) {
            Ok(hosts) => format!("{hosts:?}"),
            Err(error) => error.to_string(),
        };
        // A text without an @ is a host's name, which may be shown.
        assert!(!said.contains(PASSWORD) || !url.contains('@'), "{said}");
        let said = match parse_urls(&url) {
            Ok(hosts) => format!("{hosts:?}"),
            Err(error) => error.to_string(),
        };
        assert!(!said.contains(PASSWORD) || !url.contains('@'), "{said}");
    }
});
