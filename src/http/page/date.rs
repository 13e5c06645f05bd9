//! Formats a time for the page's language.

use super::texts::Language;
use crate::domain::Timestamp;

/// `26 November 2026, 00:41 UTC`, `26 novembre 2026 à 00 h 41 UTC`: in UTC, because the reader's time zone is not known.
pub fn written(moment: Timestamp, language: Language) -> String {
    let moment = moment.to_offset(time::UtcOffset::UTC);
    let (day, year) = (moment.day(), moment.year());
    let (hour, minute) = (moment.hour(), moment.minute());
    match language {
        Language::English => {
            let month = moment.month();
            format!("{day} {month} {year}, {hour:02}:{minute:02} UTC")
        }
        Language::French => {
            let month = french(moment.month());
            let day = if day == 1 {
                "1er".to_owned()
            } else {
                day.to_string()
            };
            format!("{day} {month} {year} à {hour:02} h {minute:02} UTC")
        }
    }
}

fn french(month: time::Month) -> &'static str {
    use time::Month as M;
    match month {
        M::January => "janvier",
        M::February => "février",
        M::March => "mars",
        M::April => "avril",
        M::May => "mai",
        M::June => "juin",
        M::July => "juillet",
        M::August => "août",
        M::September => "septembre",
        M::October => "octobre",
        M::November => "novembre",
        M::December => "décembre",
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_date_is_formatted_for_its_language() {
        let both = |moment| {
            [Language::English, Language::French].map(|language| written(moment, language))
        };
        assert_eq!(
            both(datetime!(2026-11-26 00:41:59 UTC)),
            [
                "26 November 2026, 00:41 UTC",
                "26 novembre 2026 à 00 h 41 UTC"
            ]
        );
        assert_eq!(
            both(datetime!(2026-07-31 20:05 -5)),
            ["1 August 2026, 01:05 UTC", "1er août 2026 à 01 h 05 UTC"]
        );
    }
}
