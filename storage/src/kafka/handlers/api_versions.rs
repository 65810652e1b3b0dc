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
//! No features are announced yet: transactions and KIP-848 groups are not served.

use kafka_wire::api_versions_response::ApiVersion;
use kafka_wire::{ApiVersionsRequest, ApiVersionsResponse};

use super::*;
use crate::kafka::supported::SUPPORTED;

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
    Step::Now(response)
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
