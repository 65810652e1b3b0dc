//! How many results each query must have, counted over the generated events by plain loops.
//!
//! Joins with a table are counted in the order of generation. Millstream merges topics by record
//! time, a table's records before a stream's of the same millisecond; no bid names an auction, and no
//! auction a seller, of its own millisecond that is generated after it, so the counts are equal.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use crate::nexmark::{Event, Kind};

const WINDOW_MS: i64 = 10_000;
const DAY_MS: i64 = 86_400_000;

/// What has been counted so far; feed it every event.
#[derive(Default)]
pub struct Oracle {
    bids: u64,
    q2: u64,
    q3: u64,
    q8: u64,
    q20: u64,
    sessions: u64,
    person_states: HashMap<i64, bool>,
    person_times: HashMap<i64, i64>,
    auctions_by_seller: HashMap<i64, Vec<i64>>,
    auction_is_10: HashMap<i64, bool>,
    last_bid_at: HashMap<i64, i64>,
    q12: HashSet<(i64, i64)>,
    q17: HashSet<(i64, i64)>,
    q18: HashSet<(i64, i64)>,
}

#[derive(Deserialize)]
struct Person {
    state: String,
}

#[derive(Deserialize)]
struct Auction {
    seller: i64,
    category: i64,
}

#[derive(Deserialize)]
struct Bid {
    bidder: i64,
}

impl Oracle {
    /// Counts an event in; `json` is what was produced.
    ///
    /// # Errors
    /// When it is not the event's JSON.
    pub fn count(&mut self, event: Event, json: &[u8]) -> Result<(), String> {
        let malformed = |e: serde_json::Error| e.to_string();
        match event.kind {
            Kind::Person => self.person(event, &serde_json::from_slice(json).map_err(malformed)?),
            Kind::Auction => self.auction(event, &serde_json::from_slice(json).map_err(malformed)?),
            Kind::Bid => self.bid(event, &serde_json::from_slice(json).map_err(malformed)?),
        }
        Ok(())
    }

    fn person(&mut self, event: Event, person: &Person) {
        let wanted = ["OR", "ID", "CA"].contains(&person.state.as_str());
        self.person_states.insert(event.key, wanted);
        self.person_times.insert(event.key, event.time_ms);
        let auctions = self.auctions_by_seller.get(&event.key).map_or(&[][..], |a| a);
        self.q8 += auctions.iter().filter(|t| event.time_ms - **t <= WINDOW_MS).count() as u64;
    }

    fn auction(&mut self, event: Event, auction: &Auction) {
        let is_10 = auction.category == 10;
        let seller_wanted = self.person_states.get(&auction.seller).copied().unwrap_or(false);
        self.q3 += u64::from(is_10 && seller_wanted);
        let since = self.person_times.get(&auction.seller).map(|t| event.time_ms - t);
        self.q8 += u64::from(since.is_some_and(|ms| ms <= WINDOW_MS));
        self.auctions_by_seller.entry(auction.seller).or_default().push(event.time_ms);
        self.auction_is_10.insert(event.key, is_10);
    }

    fn bid(&mut self, event: Event, bid: &Bid) {
        let (auction, bidder, time) = (event.key, bid.bidder, event.time_ms);
        self.bids += 1;
        self.q2 += u64::from(auction % 123 == 0);
        self.q20 += u64::from(self.auction_is_10.get(&auction).copied().unwrap_or(false));
        let before = self.last_bid_at.insert(bidder, time);
        self.sessions += u64::from(before.is_none_or(|before| time - before > WINDOW_MS));
        self.q12.insert((bidder, time / WINDOW_MS));
        self.q17.insert((auction, time / DAY_MS));
        self.q18.insert((bidder, auction));
    }

    /// Result rows of a stream query, keys of a table query.
    pub fn expected(&self, query: &str) -> Option<u64> {
        Some(match query {
            "q0" | "q1" | "q13" => self.bids,
            "q2" => self.q2,
            "q3" => self.q3,
            "q8" => self.q8,
            "q11" => self.sessions,
            "q12" => self.q12.len() as u64,
            "q17" => self.q17.len() as u64,
            "q18" => self.q18.len() as u64,
            "q20" => self.q20,
            _ => return None,
        })
    }
}
