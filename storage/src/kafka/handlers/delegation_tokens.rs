//! Delegation tokens are not served: each of their four APIs says that they are disabled, as a Kafka
//! broker without `delegation.token.secret.key` does.

use kafka_wire::{
    CreateDelegationTokenRequest, CreateDelegationTokenResponse, DescribeDelegationTokenRequest,
    DescribeDelegationTokenResponse, ExpireDelegationTokenRequest, ExpireDelegationTokenResponse,
    RenewDelegationTokenRequest, RenewDelegationTokenResponse,
};

use super::*;

const DISABLED: ErrorCode = ErrorCode::DelegationTokenAuthDisabled;

pub(in crate::kafka) fn create(
    _: &Call<'_>,
    _: CreateDelegationTokenRequest,
) -> Step<CreateDelegationTokenResponse> {
    let mut response = CreateDelegationTokenResponse::default();
    response.error_code = DISABLED.code();
    Step::Now(response)
}

pub(in crate::kafka) fn renew(
    _: &Call<'_>,
    _: RenewDelegationTokenRequest,
) -> Step<RenewDelegationTokenResponse> {
    let mut response = RenewDelegationTokenResponse::default();
    response.error_code = DISABLED.code();
    Step::Now(response)
}

pub(in crate::kafka) fn expire(
    _: &Call<'_>,
    _: ExpireDelegationTokenRequest,
) -> Step<ExpireDelegationTokenResponse> {
    let mut response = ExpireDelegationTokenResponse::default();
    response.error_code = DISABLED.code();
    Step::Now(response)
}

pub(in crate::kafka) fn describe(
    _: &Call<'_>,
    _: DescribeDelegationTokenRequest,
) -> Step<DescribeDelegationTokenResponse> {
    let mut response = DescribeDelegationTokenResponse::default();
    response.error_code = DISABLED.code();
    Step::Now(response)
}
