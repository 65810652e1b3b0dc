//! Delegation tokens are not served. On a listener without SASL each of their four APIs says that
//! they are not allowed there, as Kafka does; on others that they are disabled, as a Kafka broker
//! without `delegation.token.secret.key` does.

use kafka_wire::{
    CreateDelegationTokenRequest, CreateDelegationTokenResponse, DescribeDelegationTokenRequest,
    DescribeDelegationTokenResponse, ExpireDelegationTokenRequest, ExpireDelegationTokenResponse,
    RenewDelegationTokenRequest, RenewDelegationTokenResponse,
};

use super::*;

fn refusal(call: &Call<'_>) -> i16 {
    let code = if call.session.mechanisms().is_empty() {
        ErrorCode::DelegationTokenRequestNotAllowed
    } else {
        ErrorCode::DelegationTokenAuthDisabled
    };
    code.code()
}

pub(in crate::kafka) fn create(
    call: &Call<'_>,
    _: CreateDelegationTokenRequest,
) -> Step<CreateDelegationTokenResponse> {
    let mut response = CreateDelegationTokenResponse::default();
    response.error_code = refusal(call);
    Step::Now(response)
}

pub(in crate::kafka) fn renew(
    call: &Call<'_>,
    _: RenewDelegationTokenRequest,
) -> Step<RenewDelegationTokenResponse> {
    let mut response = RenewDelegationTokenResponse::default();
    response.error_code = refusal(call);
    Step::Now(response)
}

pub(in crate::kafka) fn expire(
    call: &Call<'_>,
    _: ExpireDelegationTokenRequest,
) -> Step<ExpireDelegationTokenResponse> {
    let mut response = ExpireDelegationTokenResponse::default();
    response.error_code = refusal(call);
    Step::Now(response)
}

pub(in crate::kafka) fn describe(
    call: &Call<'_>,
    _: DescribeDelegationTokenRequest,
) -> Step<DescribeDelegationTokenResponse> {
    let mut response = DescribeDelegationTokenResponse::default();
    response.error_code = refusal(call);
    Step::Now(response)
}
