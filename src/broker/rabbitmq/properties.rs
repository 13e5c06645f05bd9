//! Converts messages to and from AMQP.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::broker::{Properties, Publication};

/// The message survives a restart of the broker.
const PERSISTENT: u8 = 2;

/// All headers of a message are sent in one frame (128 KiB by default; the broker closes the connection on larger ones).
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// A text that is too long for AMQP: names and properties have at most 255 bytes.
#[derive(Debug, thiserror::Error)]
#[error("{0} is too long for AMQP")]
pub(super) struct TooLong(&'static str);

pub(super) fn short(what: &'static str, text: &str) -> Result<ShortString, TooLong> {
    ShortString::try_new(text).map_err(|_| TooLong(what))
}

/// The properties of a message to publish. Never `user-id`: the broker knows the login.
pub(super) fn to_amqp(message: &Publication) -> Result<BasicProperties, TooLong> {
    let Properties {
        message_id,
        correlation_id,
        reply_to,
        content_type,
        kind,
        user_id: _,
        headers,
    } = &message.properties;
    let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    if let Some(text) = message_id {
        properties = properties.with_message_id(short("message_id", text)?);
    }
    if let Some(text) = correlation_id {
        properties = properties.with_correlation_id(short("correlation_id", text)?);
    }
    if let Some(text) = reply_to {
        properties = properties.with_reply_to(short("reply_to", text)?);
    }
    if let Some(text) = content_type {
        properties = properties.with_content_type(short("content_type", text)?);
    }
    if let Some(text) = kind {
        properties = properties.with_type(short("type", text)?);
    }
    if !headers.is_empty() {
        if headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>()
            > MAX_HEADER_BYTES
        {
            return Err(TooLong("headers"));
        }
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert(
                short("header name", name)?,
                AMQPValue::LongString(LongString::from(value.as_str())),
            );
        }
        properties = properties.with_headers(table);
    }
    Ok(properties)
}

/// The properties of a received message.
pub(super) fn from_amqp(properties: &BasicProperties) -> Properties {
    let text = |value: &Option<ShortString>| value.as_ref().map(|text| text.as_str().to_owned());
    let headers = properties.headers().as_ref().map(|table| {
        table
            .inner()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), header_text(value)))
            .collect()
    });
    Properties {
        message_id: text(properties.message_id()),
        correlation_id: text(properties.correlation_id()),
        reply_to: text(properties.reply_to()),
        content_type: text(properties.content_type()),
        kind: text(properties.kind()),
        user_id: text(properties.user_id()),
        headers: headers.unwrap_or_default(),
    }
}

/// Any header as text; compound ones (`x-death`) part by part.
fn header_text(value: &AMQPValue) -> String {
    match value {
        AMQPValue::Boolean(it) => it.to_string(),
        AMQPValue::ShortShortInt(it) => it.to_string(),
        AMQPValue::ShortShortUInt(it) => it.to_string(),
        AMQPValue::ShortInt(it) => it.to_string(),
        AMQPValue::ShortUInt(it) => it.to_string(),
        AMQPValue::LongInt(it) => it.to_string(),
        AMQPValue::LongUInt(it) => it.to_string(),
        AMQPValue::LongLongInt(it) => it.to_string(),
        AMQPValue::Float(it) => it.to_string(),
        AMQPValue::Double(it) => it.to_string(),
        AMQPValue::Timestamp(it) => it.to_string(),
        AMQPValue::ShortString(it) => it.to_string(),
        AMQPValue::LongString(it) => it.to_string(),
        AMQPValue::ByteArray(it) => String::from_utf8_lossy(it.as_slice()).into_owned(),
        AMQPValue::DecimalValue(it) => format!("{}e-{}", it.value, it.scale),
        AMQPValue::FieldArray(it) => {
            let parts: Vec<String> = it.as_slice().iter().map(header_text).collect();
            format!("[{}]", parts.join(", "))
        }
        AMQPValue::FieldTable(it) => {
            let parts: Vec<String> = it
                .inner()
                .iter()
                .map(|(name, value)| format!("{name}: {}", header_text(value)))
                .collect();
            format!("{{{}}}", parts.join(", "))
        }
        AMQPValue::Void => String::new(),
    }
}
