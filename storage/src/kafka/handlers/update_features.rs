//! UpdateFeatures: finalize features at other levels.
//!
//! Versions
//! - 1 says whether an upgrade, a safe or an unsafe downgrade is meant, and lets the client only check
//! - 2 answers for the request as a whole
//!
//! A node of this version runs its features at the levels it was built with
//! ([`crate::kafka::supported::FEATURES`]): to ask for a feature's present level succeeds, any other
//! level is refused.

use kafka_wire::update_features_request::FeatureUpdateKey;
use kafka_wire::update_features_response::UpdatableFeatureResult;
use kafka_wire::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use super::*;
use crate::kafka::supported::FEATURES;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: UpdateFeaturesRequest,
) -> Step<UpdateFeaturesResponse> {
    let mut response = UpdateFeaturesResponse::default();
    response.error_message = None;
    if let Err(code) = check_cluster(call, Operation::Alter) {
        response.error_code = code.code();
        return Step::Now(response);
    }
    for update in &request.feature_updates {
        let Err(refused) = check(update) else {
            if call.version() <= 1 {
                let mut done = UpdatableFeatureResult::default();
                done.error_message = None;
                done.feature = update.feature.clone();
                response.results.push(done);
            }
            continue;
        };
        if call.version() <= 1 {
            let mut failed = UpdatableFeatureResult::default();
            failed.feature = update.feature.clone();
            failed.error_code = refused.code.code();
            failed.error_message = words(&refused);
            response.results.push(failed);
        } else {
            let message = format!(
                "The update failed for all features since the following feature had an error: {}",
                refused.message
            );
            response.error_code = refused.code.code();
            response.error_message = Some(text(&message));
            break;
        }
    }
    Step::Now(response)
}

fn check(update: &FeatureUpdateKey) -> Result<(), Refused> {
    let refuse = |message: String| Err(Refused::new(ErrorCode::InvalidUpdateVersion, message));
    let (name, level) = (&*update.feature, update.max_version_level);
    let Some(feature) = FEATURES.iter().find(|feature| feature.name == name) else {
        return refuse(format!(
            "Invalid update version {level} for feature {name}. Local controller does not support this feature."
        ));
    };
    if level == feature.level {
        return Ok(());
    }
    if !(feature.min..=feature.max).contains(&level) {
        return refuse(format!(
            "Invalid update version {level} for feature {name}. Local controller only supports versions {}-{}",
            feature.min, feature.max
        ));
    }
    refuse(format!(
        "Invalid update version {level} for feature {name}. This node runs it at {}.",
        feature.level
    ))
}
