//! ApiVersions: what can be asked here, in which versions?
//!
//! Versions
//! - 3 is the first flexible version and carries the client's software name and version
//! - 4 may show features whose lowest level is 0; for older versions they are masked (KAFKA-17011)
//!
//! The response header is version 0 whatever the version, so that a client which knows nothing yet
//! can read it. A version that is not served is answered with the body of version 0, error 35 and
//! the list, from which the client picks a version to ask again with.
//!
//! The features ([`FEATURES`]) say which protocols are on, from version 3 on.

use kafka_wire::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_wire::{ApiVersionsRequest, ApiVersionsResponse};

use super::*;
use crate::kafka::supported::{FEATURES, SUPPORTED};

pub(in crate::kafka) const KEY: i16 = 18;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: ApiVersionsRequest,
) -> Step<ApiVersionsResponse> {
    let mut response = ApiVersionsResponse::default();
    let named = [&request.client_software_name, &request.client_software_version];
    if call.version() >= 3 && !named.into_iter().all(|name| is_software_name(name)) {
        response.error_code = ErrorCode::InvalidRequest.code();
        return Step::Now(response);
    }
    response.api_keys = all();
    if call.version() >= 3 {
        announce_features(call.version(), &mut response);
    }
    Step::Now(response)
}

fn announce_features(version: i16, response: &mut ApiVersionsResponse) {
    for feature in FEATURES.iter().filter(|feature| version >= 4 || feature.min > 0) {
        let mut supported = SupportedFeatureKey::default();
        supported.name = text(feature.name);
        supported.min_version = feature.min;
        supported.max_version = feature.max;
        response.supported_features.push(supported);
    }
    // What is on is told to every version: it is never 0.
    response.finalized_features_epoch = 0;
    for feature in FEATURES.iter().filter(|feature| feature.level > 0) {
        let mut finalized = FinalizedFeatureKey::default();
        finalized.name = text(feature.name);
        finalized.max_version_level = feature.level;
        finalized.min_version_level = feature.level;
        response.finalized_features.push(finalized);
    }
}

/// The answer to a version nobody here knows; to be written as version 0.
pub(in crate::kafka) fn unknown_version() -> ApiVersionsResponse {
    let mut response = ApiVersionsResponse::default();
    response.error_code = ErrorCode::UnsupportedVersion.code();
    response.api_keys = all();
    response
}

fn all() -> Vec<ApiVersion> {
    let row = |api: &crate::kafka::supported::Api| {
        let mut row = ApiVersion::default();
        row.api_key = api.key;
        row.min_version = api.min;
        row.max_version = api.max;
        row
    };
    SUPPORTED.iter().map(row).collect()
}

/// Kafka's rule: letters and digits, in between also `.` and `-`.
fn is_software_name(name: &str) -> bool {
    let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    alphanumeric(bytes.first()) && alphanumeric(bytes.last()) && bytes.iter().all(legal)
}
