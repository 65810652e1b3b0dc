//! Nexmark events as JSON: persons, auctions and bids of an online auction, 1 : 3 : 46.
//!
//! Event `i` depends on seed and `i` only. Half of the bids go to a hot auction, three quarters come
//! from a hot bidder; prices are log-uniform; ids are dense. Events are 100 µs of event time apart
//! (10,000 a second), from 2015-07-15 on. Texts fill a person to about 200 bytes, an auction to 500,
//! a bid to 100, before JSON's names and quotes; a bid's JSON is about 257 bytes.
//!
//! The random draws follow `nexgen`, so that the counts known for its data hold here too.

use std::io::Write as _;

const FIRST_ID: i64 = 1000;
const START_MS: i64 = 1_436_918_400_000;
const EVENTS_PER_SECOND: i64 = 10_000;
const PERSONS: i64 = 1;
const AUCTIONS: i64 = 3;
/// Events of one round: a person, three auctions, forty-six bids.
const ROUND: i64 = 50;
/// Who may act: this many newest persons, this many newest auctions.
const ACTIVE_PERSONS: i64 = 1000;
const ACTIVE_AUCTIONS: i64 = 100;
/// Ids are drawn up to this far ahead of those that exist.
const AHEAD: i64 = 10;
const HOT: i64 = 100;
const CHANNELS: u32 = 10_000;

const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const CITIES: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const FIRST_NAMES: [&str; 11] = [
    "Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter",
];
const LAST_NAMES: [&str; 9] =
    ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Person,
    Auction,
    Bid,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Person, Kind::Auction, Kind::Bid];

    pub fn topic(self) -> &'static str {
        match self {
            Kind::Person => "person",
            Kind::Auction => "auction",
            Kind::Bid => "bid",
        }
    }
}

/// An event; its JSON is in the buffer given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: Kind,
    /// The person's or auction's id; for a bid its auction.
    pub key: i64,
    pub time_ms: i64,
}

pub struct Nexmark {
    seed: u64,
    hot_urls: Vec<String>,
    /// Name and URL of each ordinary channel.
    channels: Vec<(String, String)>,
}

impl Nexmark {
    pub fn new(seed: u64) -> Nexmark {
        let mut draws = Draws::new(seed, u64::MAX - 1);
        let hot_urls = (0..HOT_CHANNELS.len()).map(|_| draws.url()).collect();
        let channels = (0..CHANNELS).map(|i| {
            let mut url = draws.url();
            if draws.below(10) > 0 {
                let id = i64::from(i.reverse_bits() as i32).abs();
                url.push_str(&format!("&channel_id={id}"));
            }
            (format!("channel-{i}"), url)
        });
        Nexmark { seed, hot_urls, channels: channels.collect() }
    }

    /// Writes event `index` as a JSON object to `out`, which is cleared before.
    pub fn event(&self, index: u64, out: &mut Vec<u8>) -> Event {
        let at = index as i64;
        let time_ms = time_of(at);
        let mut draws = Draws::new(self.seed, index);
        out.clear();
        let place = at % ROUND;
        let (kind, key) = if place < PERSONS {
            (Kind::Person, self.person(at, &mut draws, out))
        } else if place < PERSONS + AUCTIONS {
            (Kind::Auction, self.auction(at, &mut draws, out))
        } else {
            (Kind::Bid, self.bid(at, &mut draws, out))
        };
        Event { kind, key, time_ms }
    }

    fn person(&self, at: i64, draws: &mut Draws, out: &mut Vec<u8>) -> i64 {
        let id = FIRST_ID + last_person(at);
        let name = format!("{} {}", draws.pick(&FIRST_NAMES), draws.pick(&LAST_NAMES));
        let mut email = draws.word(7, '_');
        email.push('@');
        email.push_str(&draws.word(5, '_'));
        email.push_str(".com");
        let card: Vec<String> = (0..4).map(|_| format!("{:04}", draws.below(10_000))).collect();
        let card = card.join(" ");
        let (city, state) = (draws.pick(&CITIES), draws.pick(&STATES));
        let used = 8 + name.len() + email.len() + card.len() + city.len() + state.len();
        let extra = draws.filler(used, 200);
        let mut json = Object::new(out);
        json.number("id", id);
        json.text("name", &name);
        json.text("emailAddress", &email);
        json.text("creditCard", &card);
        json.text("city", city);
        json.text("state", state);
        json.time("dateTime", time_of(at));
        json.text("extra", &extra);
        json.end();
        id
    }

    fn auction(&self, at: i64, draws: &mut Draws, out: &mut Vec<u8>) -> i64 {
        let id = FIRST_ID + last_auction(at);
        let seller =
            FIRST_ID + if draws.below(4) > 0 { hot(last_person(at)) } else { draws.person(at) };
        let category = 10 + draws.below(5);
        let initial_bid = draws.price();
        // An auction stays open for up to twice the time in which a hundred more begin.
        let horizon = time_of(at + ACTIVE_AUCTIONS * ROUND / AUCTIONS) - time_of(at);
        let expires = time_of(at) + 1 + draws.below((horizon * 2).max(1));
        let item = draws.word(20, ' ');
        let description = draws.word(100, ' ');
        let reserve = initial_bid + draws.price();
        let extra = draws.filler(48 + item.len() + description.len(), 500);
        let mut json = Object::new(out);
        json.number("id", id);
        json.text("itemName", &item);
        json.text("description", &description);
        json.number("initialBid", initial_bid);
        json.number("reserve", reserve);
        json.time("dateTime", time_of(at));
        json.time("expires", expires);
        json.number("seller", seller);
        json.number("category", category);
        json.text("extra", &extra);
        json.end();
        id
    }

    fn bid(&self, at: i64, draws: &mut Draws, out: &mut Vec<u8>) -> i64 {
        let is_hot = draws.below(2) > 0;
        let auction = FIRST_ID + if is_hot { hot(last_auction(at)) } else { draws.auction(at) };
        let is_hot = draws.below(4) > 0;
        let bidder = FIRST_ID + if is_hot { hot(last_person(at)) + 1 } else { draws.person(at) };
        let price = draws.price();
        let (channel, url) = if draws.below(2) > 0 {
            let i = draws.below(HOT_CHANNELS.len() as i64) as usize;
            (HOT_CHANNELS[i], &self.hot_urls[i])
        } else {
            let (channel, url) = &self.channels[draws.below(i64::from(CHANNELS)) as usize];
            (channel.as_str(), url)
        };
        let extra = draws.filler(32, 100);
        let mut json = Object::new(out);
        json.number("auction", auction);
        json.number("bidder", bidder);
        json.number("price", price);
        json.text("channel", channel);
        json.text("url", url);
        json.time("dateTime", time_of(at));
        json.text("extra", &extra);
        json.end();
        auction
    }
}

fn time_of(event: i64) -> i64 {
    START_MS + event * 1000 / EVENTS_PER_SECOND
}

/// The newest person (counted from 0) when event `at` happens; auctions likewise.
fn last_person(at: i64) -> i64 {
    at / ROUND * PERSONS + (at % ROUND).min(PERSONS - 1)
}

fn last_auction(at: i64) -> i64 {
    let (round, place) = (at / ROUND, at % ROUND);
    match place {
        0 => round * AUCTIONS - 1,
        place if place <= AUCTIONS => round * AUCTIONS + place - PERSONS,
        _ => round * AUCTIONS + AUCTIONS - 1,
    }
}

/// The hot one among a hundred.
fn hot(last: i64) -> i64 {
    last / HOT * HOT
}

/// The random draws of one event (SplitMix64).
struct Draws(u64);

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl Draws {
    fn new(seed: u64, stream: u64) -> Draws {
        let mut draws = Draws(seed ^ stream.wrapping_mul(GOLDEN));
        draws.next();
        Draws(draws.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0 ≤ result < `end`.
    fn below(&mut self, end: i64) -> i64 {
        ((u128::from(self.next()) * end as u128) >> 64) as i64
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as i64) as usize]
    }

    /// 100 to 100,000,000, each decade as likely.
    fn price(&mut self) -> i64 {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        (10f64.powf(unit * 6.0) * 100.0).round() as i64
    }

    fn person(&mut self, at: i64) -> i64 {
        let count = last_person(at) + 1;
        let active = count.min(ACTIVE_PERSONS);
        count - active + self.below(active + AHEAD)
    }

    fn auction(&mut self, at: i64) -> i64 {
        let newest = last_auction(at).max(0);
        let oldest = (newest - ACTIVE_AUCTIONS).max(0);
        oldest + self.below(newest - oldest + 1 + AHEAD)
    }

    /// Three to `length_max` letters, some of them separators; spaces never at an end.
    fn word(&mut self, length_max: i64, separator: char) -> String {
        let length = 3 + self.below(length_max - 3);
        let mut word: Vec<char> = (0..length)
            .map(|_| match self.below(13) {
                0 => separator,
                _ => (b'a' + self.below(26) as u8) as char,
            })
            .collect();
        if separator == ' ' {
            let last = word.len() - 1;
            for end in [0, last] {
                if word[end] == ' ' {
                    word[end] = 'x';
                }
            }
        }
        word.into_iter().collect()
    }

    fn url(&mut self) -> String {
        let words: Vec<String> = (0..3).map(|_| self.word(5, '_')).collect();
        format!("https://www.nexmark.com/{}/item.htm?query=1", words.join("/"))
    }

    /// Letters that bring an event of `used` bytes to about `wanted`, 20 % more or less.
    fn filler(&mut self, used: usize, wanted: usize) -> String {
        let Some(missing) = wanted.checked_sub(used).filter(|m| *m > 0) else {
            return String::new();
        };
        let spread = (missing as f64 * 0.2).round() as i64;
        let length = missing as i64 - spread + if spread > 0 { self.below(2 * spread) } else { 0 };
        let mut text = String::with_capacity(length as usize);
        let mut source = 0;
        for i in 0..length {
            // Twelve letters from one draw.
            if i % 12 == 0 {
                source = self.next();
            }
            text.push((b'a' + (source % 26) as u8) as char);
            source /= 26;
        }
        text
    }
}

/// Writes one JSON object; names and texts need no escapes.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    separator: u8,
}

impl<'a> Object<'a> {
    fn new(out: &'a mut Vec<u8>) -> Object<'a> {
        Object { out, separator: b'{' }
    }

    fn name(&mut self, name: &str) {
        self.out.push(self.separator);
        self.separator = b',';
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn number(&mut self, name: &str, value: i64) {
        self.name(name);
        write!(self.out, "{value}").expect("a Vec takes every write");
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.out.push(b'"');
        self.out.extend_from_slice(value.as_bytes());
        self.out.push(b'"');
    }

    /// `2015-07-15 00:00:00.000`
    fn time(&mut self, name: &str, ms: i64) {
        let (days, ms) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
        let (year, month, day) = date_of(days);
        let (seconds, ms) = (ms / 1000, ms % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        self.text(
            name,
            &format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{ms:03}"),
        );
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

/// Year, month and day of a day counted from 1970, by counting (events span minutes, not ages).
fn date_of(days: i64) -> (i64, i64, i64) {
    let is_leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let (mut year, mut left) = (1970, days);
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    (year, month as i64 + 1, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_repeat_and_come_in_their_proportions() {
        let (one, two) = (Nexmark::new(42), Nexmark::new(42));
        let (mut a, mut b) = (Vec::new(), Vec::new());
        let mut counts = [0; 3];
        let mut bid_bytes = 0;
        for i in 0..10_000 {
            let event = one.event(i, &mut a);
            assert_eq!(two.event(i, &mut b), event);
            assert_eq!(a, b);
            assert!(serde_json::from_slice::<serde_json::Value>(&a).is_ok());
            counts[event.kind as usize] += 1;
            bid_bytes += if event.kind == Kind::Bid { a.len() } else { 0 };
        }
        assert_eq!(counts, [200, 600, 9200]);
        let average = bid_bytes / 9200;
        assert!((240..270).contains(&average), "{average}");
    }

    #[test]
    fn dates_are_the_calendar_s() {
        assert_eq!(date_of(0), (1970, 1, 1));
        assert_eq!(date_of(START_MS / 86_400_000), (2015, 7, 15));
        assert_eq!(date_of(11_016), (2000, 2, 29));
    }
}
