#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe.h"

#define CASE(name) static tollgate_result_t probe_##name(fixture_t *f)
#define UNUSED (void)f
/* Frees what was given, if it was. */
#define GIVEN(call, free, handle)                   \
  do {                                              \
    tollgate_result_t result = checked(call);       \
    if (result == TOLLGATE_OK) free(handle);        \
    return result;                                  \
  } while (0)

/* ---- results, versions, log ---- */
CASE(tollgate_abi_version) { UNUSED; VALUE(tollgate_abi_version(), == TOLLGATE_ABI_VERSION, == 0); }
CASE(tollgate_version) { UNUSED; VALUE(tollgate_version()[0], == '0', == 'x'); }
CASE(tollgate_result_name) { UNUSED; VALUE(strcmp(tollgate_result_name(TOLLGATE_OK), "TOLLGATE_OK"), == 0, == 1); }
CASE(tollgate_last_error) { UNUSED; VALUE(tollgate_last_error(), != NULL, == NULL); }
CASE(tollgate_check_abi) { UNUSED; return checked(tollgate_check_abi(TOLLGATE_ABI_VERSION)); }
CASE(tollgate_set_log) { UNUSED; return checked(tollgate_set_log(NULL, NULL)); }

/* ---- policies, engines ---- */
CASE(tollgate_policy_new) {
  UNUSED;
  OUT(tollgate_policy_t *, policy);
  GIVEN(tollgate_policy_new(T(0, "{}"), TOLLGATE_POLICY_JSON, P(1, &policy)), tollgate_policy_free, policy);
}
CASE(tollgate_policy_patch) { return checked(tollgate_policy_patch(P(0, f->policy), T(1, "{}"))); }
CASE(tollgate_policy_trusts_proxies) { VALUE(tollgate_policy_trusts_proxies(P(0, f->policy)), == true, == false); }
CASE(tollgate_policy_warning_count) { VALUE(tollgate_policy_warning_count(P(0, f->policy)), > 0, == 0); }
CASE(tollgate_policy_warning) {
  OUT(tollgate_str_t, warning);
  return checked(tollgate_policy_warning(P(0, f->policy), 0, P(1, &warning)));
}
CASE(tollgate_policy_free) { UNUSED; tollgate_policy_free(NULL); VALUE(0, == 0, == 0); }
CASE(tollgate_engine_new) {
  static const uint8_t pepper[16] = {1};
  OUT(tollgate_engine_t *, engine);
  const void *no_pepper_is_null = pepper;
  size_t len = probed_len(2, 1u << IS_HUGE, sizeof pepper);
  GIVEN(tollgate_engine_new(P(0, f->policy), no_pepper_is_null, len, P(1, &engine)), tollgate_engine_free, engine);
}
CASE(tollgate_engine_reload) { return checked(tollgate_engine_reload(P(0, f->engine), P(1, f->policy))); }
CASE(tollgate_engine_digest) {
  uint8_t digest[32];
  expect_untouched(digest, sizeof digest);
  return checked(tollgate_engine_digest(P(0, f->engine), T(1, "t-1"), Q(2, digest)));
}
CASE(tollgate_engine_free) { UNUSED; tollgate_engine_free(NULL); VALUE(0, == 0, == 0); }

/* ---- limits and stores ---- */
CASE(tollgate_region_size) {
  UNUSED;
  OUT(size_t, size);
  return checked(tollgate_region_size(100, 10, P(0, &size)));
}
CASE(tollgate_region_fit) {
  UNUSED;
  OUT(size_t, cells);
  OUT(size_t, windows);
  OUT(size_t, size);
  return checked(tollgate_region_fit(1 << 20, P(0, &cells), P(1, &windows), P(2, &size)));
}
CASE(tollgate_region_create) {
  size_t len = probed_len(0, 1u << IS_HUGE, f->region_len);
  return checked(tollgate_region_create(P(1, f->spare_region), len, 100, 10, NULL));
}
CASE(tollgate_limits_region_attach) {
  OUT(tollgate_limits_t *, limits);
  size_t len = probed_len(0, 1u << IS_HUGE, f->region_len);
  GIVEN(tollgate_limits_region_attach(P(1, f->region), len, P(2, &limits)), tollgate_limits_free, limits);
}
CASE(tollgate_limits_region_open) {
  char path[4096];
  snprintf(path, sizeof path, "%s/limits", f->directory);
  OUT(tollgate_limits_t *, limits);
  GIVEN(tollgate_limits_region_open(T(0, path), 100, 10, P(1, &limits)), tollgate_limits_free, limits);
}
CASE(tollgate_limits_reclaim_dead) {
  OUT(size_t, processes);
  return checked(tollgate_limits_reclaim_dead(P(0, f->limits), NOW_MS, P(1, &processes)));
}
CASE(tollgate_limits_free) { UNUSED; tollgate_limits_free(NULL); VALUE(0, == 0, == 0); }
CASE(tollgate_store_memory_new) {
  UNUSED;
  OUT(tollgate_store_t *, store);
  GIVEN(tollgate_store_memory_new(NULL, P(0, &store)), tollgate_store_free, store);
}
CASE(tollgate_store_lmdb_open) {
  tollgate_lmdb_options_t options = {.struct_size = sizeof options, .map_bytes = 1 << 24};
  OUT(tollgate_store_t *, store);
  GIVEN(tollgate_store_lmdb_open(T(0, f->directory), probed_pointer(2, 1u << IS_MISALIGNED, &options), P(1, &store)), tollgate_store_free, store);
}
CASE(tollgate_store_redis_open) {
  UNUSED;
  OUT(tollgate_store_t *, store);
  GIVEN(tollgate_store_redis_open(T(0, "redis://127.0.0.1:1"), NULL, P(1, &store)), tollgate_store_free, store);
}
CASE(tollgate_store_composite_new) {
  OUT(tollgate_store_t *, store);
  GIVEN(tollgate_store_composite_new(P(0, f->limits), P(1, f->store), P(2, &store)), tollgate_store_free, store);
}
CASE(tollgate_store_host_open) {
  /* The map does not answer: a function that is missing is told before that. */
  UNUSED;
  tollgate_host_map_t map = no_map;
  map.begin = F(2, map.begin);
  map.get = F(3, map.get);
  map.first = F(4, map.first);
  map.put = F(5, map.put);
  map.remove = F(6, map.remove);
  map.commit = F(7, map.commit);
  map.rollback = F(8, map.rollback);
  OUT(tollgate_store_t *, store);
  tollgate_result_t result = checked(tollgate_store_host_open(P(0, &map), NULL, NULL, P(1, &store)));
  return result == TOLLGATE_STORE_UNAVAILABLE ? TOLLGATE_OK : result;
}
CASE(tollgate_store_expire) {
  OUT(uint64_t, expired);
  return checked(tollgate_store_expire(P(0, f->store), NOW_MS, P(1, &expired)));
}
CASE(tollgate_store_free) { UNUSED; tollgate_store_free(NULL); VALUE(0, == 0, == 0); }

/* ---- requests and decisions ---- */
static tollgate_request_t probed_request(const fixture_t *f, int slot) {
  tollgate_request_t request = f->request;
  const unsigned text = TEXTS, bytes = BYTES;
#define PART(n, pointer, len, kinds)                                     \
  if (probed(slot + n, kinds, IS_NULL)) request.pointer = NULL;          \
  else if (probed(slot + n, kinds, IS_NO_UTF8)) request.pointer = (const void *)"\xFF\xFE"; \
  request.len = probed_len(slot + n, kinds, request.len)
  request.sender = "";
  request.invalid = NULL;
  PART(0, method, method_len, bytes);
  PART(1, target, target_len, bytes);
  PART(2, headers, headers_len, bytes | 1u << IS_MISALIGNED);
  PART(3, peer, peer_len, bytes);
  PART(4, body, body_len, bytes);
  request.sender = "me";
  request.sender_len = 2;
  PART(5, sender, sender_len, text);
  /* A valid request has no refusal of the host's. */
  if (probed(slot + 6, text, IS_NULL) || probed(slot + 6, text, IS_NO_UTF8) || probed(slot + 6, text, IS_HUGE)) {
    request.invalid = "no";
    request.invalid_len = 2;
    PART(6, invalid, invalid_len, text);
  }
  request.headers = probed(slot + 2, 0, IS_MISALIGNED) ? (const void *)((uintptr_t)request.headers + 1) : request.headers;
  return request;
}
static tollgate_header_t probed_header(tollgate_header_t header, int slot, unsigned name) {
  if (probed(slot, name, IS_NULL)) header.name = NULL;
  if (probed(slot, name, IS_NO_UTF8)) header.name = "\xFF\xFE";
  header.name_len = probed_len(slot, name, header.name_len);
  if (probed(slot + 1, BYTES, IS_NULL)) header.value = NULL;
  header.value_len = probed_len(slot + 1, BYTES, header.value_len);
  return header;
}
CASE(tollgate_decide) {
  tollgate_request_t request = probed_request(f, 4);
  OUT(tollgate_decision_t *, decision);
  f->headers[1] = probed_header(f->headers[1], 11, BYTES);
  GIVEN(tollgate_decide(P(0, f->engine), P(1, f->store), P(2, &request), P(3, &decision)), tollgate_decision_free,
        decision);
}
CASE(tollgate_decision_verdict) { VALUE(tollgate_decision_verdict(P(0, f->denied)), == TOLLGATE_DENY, == TOLLGATE_NO_VERDICT); }
CASE(tollgate_decision_status) {
  VALUE(tollgate_decision_status(P(0, f->denied)), == TOLLGATE_STATUS_RATE_LIMITED, == TOLLGATE_STATUS_STORE_UNAVAILABLE);
}
CASE(tollgate_decision_http_status) { VALUE(tollgate_decision_http_status(P(0, f->denied)), == 429, == 503); }
CASE(tollgate_decision_code) {
  const char *code = tollgate_decision_code(P(0, f->denied));
  return told(strcmp(code, "rate_limited") == 0, strcmp(code, "store_unavailable") == 0);
}
CASE(tollgate_decision_must_finish) { VALUE(tollgate_decision_must_finish(P(0, f->allowed)), == true, == false); }
CASE(tollgate_decision_holds_key) { VALUE(tollgate_decision_holds_key(P(0, f->allowed)), == true, == false); }
CASE(tollgate_decision_reserved) {
  OUT(uint64_t, amount);
  VALUE(tollgate_decision_reserved(P(0, f->allowed), P(1, &amount)), == true, == false);
}
CASE(tollgate_decision_reservation) {
  OUT(uint64_t, number);
  VALUE(tollgate_decision_reservation(P(0, f->allowed), P(1, &number)), == true, == false);
}
CASE(tollgate_decision_retry_at) {
  OUT(uint64_t, at_ms);
  VALUE(tollgate_decision_retry_at(P(0, f->denied), P(1, &at_ms)), == true, == false);
}
CASE(tollgate_decision_shadows) { VALUE(tollgate_decision_shadows(P(0, f->denied)), == 0, == 0); }
CASE(tollgate_decision_route) {
  OUT(tollgate_str_t, route);
  return checked(tollgate_decision_route(P(0, f->denied), P(1, &route)));
}
CASE(tollgate_decision_account) {
  OUT(size_t, len);
  char buffer[255];
  return checked(tollgate_decision_account(P(0, f->denied), W(1, buffer, sizeof buffer), P(2, &len)));
}
CASE(tollgate_decision_store_error) {
  OUT(size_t, len);
  char buffer[255];
  return checked(tollgate_decision_store_error(P(0, f->denied), W(1, buffer, sizeof buffer), P(2, &len)));
}
CASE(tollgate_decision_headers) {
  OUT(size_t, count);
  OUT(size_t, used);
  tollgate_header_t headers[16];
  char buffer[1024];
  return checked(tollgate_decision_headers(P(0, f->denied), W(1, headers, 16), P(2, &count),
                                           W(3, buffer, sizeof buffer), P(4, &used)));
}
CASE(tollgate_decision_body) {
  OUT(size_t, len);
  char buffer[1024];
  return checked(tollgate_decision_body(P(0, f->denied), W(1, buffer, sizeof buffer), P(2, &len)));
}
CASE(tollgate_decision_free) { UNUSED; tollgate_decision_free(NULL); VALUE(0, == 0, == 0); }

/* ---- how it ended ---- */
/* Slots from `slot` on: response, its headers, name and value of one, its body. */
static tollgate_finish_t probed_finish(fixture_t *f, int slot) {
  tollgate_response_t *response = &f->response;
  f->kept[0] = probed_header(f->kept[0], slot, TEXTS);
  if (probed(slot + 2, BYTES | 1u << IS_MISALIGNED, IS_NULL)) response->headers = NULL;
  if (probed(slot + 2, 0, IS_MISALIGNED)) response->headers = (const void *)((uintptr_t)response->headers + 1);
  response->headers_len = probed_len(slot + 2, BYTES, response->headers_len);
  if (probed(slot + 3, BYTES, IS_NULL)) response->body = NULL;
  response->body_len = probed_len(slot + 3, BYTES, response->body_len);
  tollgate_finish_t finish = f->finish;
  if (probed(slot + 4, 1u << IS_MISALIGNED, IS_MISALIGNED))
    finish.response = (const void *)((uintptr_t)finish.response + 1);
  return finish;
}
CASE(tollgate_finish) {
  tollgate_finish_t finish = probed_finish(f, 5);
  OUT(bool, has_posted);
  OUT(uint64_t, posted);
  return checked(tollgate_finish(P(0, f->allowed), P(1, f->store), P(2, &finish), NOW_MS, Q(3, &has_posted), P(4, &posted)));
}

/* ---- operations ---- */
CASE(tollgate_operation_decide) {
  tollgate_request_t request = probed_request(f, 3);
  OUT(tollgate_operation_t *, operation);
  f->headers[1] = probed_header(f->headers[1], 10, BYTES);
  GIVEN(tollgate_operation_decide(P(0, f->engine), P(1, &request), true, P(2, &operation)), tollgate_operation_free,
        operation);
}
CASE(tollgate_operation_finish) {
  tollgate_finish_t finish = probed_finish(f, 3);
  OUT(tollgate_operation_t *, operation);
  GIVEN(tollgate_operation_finish(P(0, f->allowed), P(1, &finish), NOW_MS, P(2, &operation)), tollgate_operation_free,
        operation);
}
CASE(tollgate_operation_command) {
  VALUE(tollgate_operation_command(P(0, f->asking)), == TOLLGATE_COMMAND_LOOKUP, == TOLLGATE_COMMAND_NONE);
}
CASE(tollgate_operation_wants_body) {
  VALUE(tollgate_operation_wants_body(P(0, f->looked_up)), == true, == false);
}
CASE(tollgate_operation_perform) { return checked(tollgate_operation_perform(P(0, f->asking), P(1, f->store))); }
CASE(tollgate_operation_fail) { return checked(tollgate_operation_fail(P(0, f->asking), T(1, "out to lunch"))); }
CASE(tollgate_operation_decision) {
  OUT(tollgate_decision_t *, decision);
  GIVEN(tollgate_operation_decision(P(0, f->decided), P(1, &decision)), tollgate_decision_free, decision);
}
CASE(tollgate_operation_finished) {
  OUT(bool, has_posted);
  OUT(uint64_t, posted);
  return checked(tollgate_operation_finished(P(0, f->settled), Q(1, &has_posted), P(2, &posted)));
}
CASE(tollgate_operation_free) { UNUSED; tollgate_operation_free(NULL); VALUE(0, == 0, == 0); }
CASE(tollgate_operation_redis_start) {
  static const uint8_t nonce[16] = {7};
  return checked(tollgate_operation_redis_start(P(0, f->asking), P(1, f->redis), nonce));
}
CASE(tollgate_operation_redis_calls) { VALUE(tollgate_operation_redis_calls(P(0, f->carried)), > 0, == 0); }
CASE(tollgate_operation_redis_call) {
  OUT(tollgate_str_t, bytes);
  OUT(tollgate_str_t, key);
  return checked(tollgate_operation_redis_call(P(0, f->carried), 0, P(1, &bytes), P(2, &key)));
}
CASE(tollgate_operation_redis_reply) {
  OUT(size_t, consumed);
  return checked(tollgate_operation_redis_reply(P(0, f->carried), 0, B(1, (const uint8_t *)"$-1\r\n", 5), P(2, &consumed)));
}
CASE(tollgate_operation_redis_resume) { return checked(tollgate_operation_redis_resume(P(0, f->carried))); }
CASE(tollgate_redis_new) {
  UNUSED;
  OUT(tollgate_redis_t *, redis);
  GIVEN(tollgate_redis_new(NULL, P(0, &redis)), tollgate_redis_free, redis);
}
CASE(tollgate_redis_free) { UNUSED; tollgate_redis_free(NULL); VALUE(0, == 0, == 0); }

/* ---- explanations ---- */
CASE(tollgate_explain) {
  OUT(tollgate_explanation_t *, explanation);
  GIVEN(tollgate_explain(P(0, f->engine), P(1, f->store), P(2, &f->request), P(3, &explanation)),
        tollgate_explanation_free, explanation);
}
CASE(tollgate_explanation_step_count) { VALUE(tollgate_explanation_step_count(P(0, f->explanation)), > 3, == 0); }
CASE(tollgate_explanation_step) {
  OUT(tollgate_trace_step_t, step);
  return checked(tollgate_explanation_step(P(0, f->explanation), 0, P(1, &step)));
}
CASE(tollgate_explanation_decision) {
  OUT(tollgate_decision_t *, decision);
  GIVEN(tollgate_explanation_decision(P(0, f->explanation), P(1, &decision)), tollgate_decision_free, decision);
}
CASE(tollgate_explanation_free) { UNUSED; tollgate_explanation_free(NULL); VALUE(0, == 0, == 0); }

/* ---- administration ---- */
static bool each_account(void *user, const char *name, size_t len) {
  (void)user;
  return len == 4 && memcmp(name, "acme", 4) == 0;
}
static bool each_token(void *user, const tollgate_token_t *token) { return user == NULL && token->scopes_len == 1; }
static bool each_reservation(void *user, const tollgate_reservation_t *one) { return user == NULL && one->number > 0; }

/* Texts in a row, of which the first is probed, and the row itself. */
static const tollgate_str_t *row(tollgate_str_t *place, const char *text, int slot, size_t *len) {
  const unsigned kinds = TEXTS;
  place->data = probed_text(slot, text);
  place->len = probed_len(slot, kinds, strlen(text));
  *len = probed_len(slot + 1, BYTES | 1u << IS_MISALIGNED, 1);
  return probed_pointer(slot + 1, BYTES | 1u << IS_MISALIGNED, place);
}
CASE(tollgate_account_put) {
  tollgate_str_t network, sender;
  tollgate_spend_cap_t cap = {.amount = 1, .per = TOLLGATE_PER_DAY};
  tollgate_account_settings_t settings = {.struct_size = sizeof settings, .set_networks = 1, .set_senders = 1, .set_spend_caps = 1};
  settings.networks = row(&network, "192.0.2.0/24", 2, &settings.networks_len);
  settings.senders = row(&sender, "me", 4, &settings.senders_len);
  settings.spend_caps = probed_pointer(6, BYTES | 1u << IS_MISALIGNED, &cap);
  settings.spend_caps_len = probed_len(6, BYTES, 1);
  const void *none_is_null = probed_pointer(7, 1u << IS_MISALIGNED, &settings);
  return checked(tollgate_account_put(P(0, f->store), T(1, "acme"), 0, none_is_null, NOW_MS));
}
CASE(tollgate_account_deposit) { return checked(tollgate_account_deposit(P(0, f->store), T(1, "acme"), 1, NOW_MS)); }
CASE(tollgate_account_wallet) {
  OUT(tollgate_wallet_t, wallet);
  return checked(tollgate_account_wallet(P(0, f->store), T(1, "acme"), NOW_MS, P(2, &wallet)));
}
CASE(tollgate_account_list) { return checked(tollgate_account_list(P(0, f->store), T(1, "aaa"), 10, NOW_MS, F(2, each_account), NULL)); }
CASE(tollgate_token_generate) {
  UNUSED;
  static const uint8_t entropy[32] = {1};
  OUT(size_t, len);
  char buffer[64];
  return checked(tollgate_token_generate(entropy, W(0, buffer, sizeof buffer), P(1, &len)));
}
CASE(tollgate_token_put) {
  tollgate_str_t scope, network;
  tollgate_spend_cap_t cap = {.amount = 1, .per = TOLLGATE_PER_LIFETIME};
  tollgate_token_settings_t settings = {.struct_size = sizeof settings, .set_scopes = 1, .set_networks = 1, .set_spend_caps = 1};
  settings.scopes = row(&scope, "otp", 3, &settings.scopes_len);
  settings.networks = row(&network, "192.0.2.0/24", 5, &settings.networks_len);
  settings.spend_caps = probed_pointer(7, BYTES | 1u << IS_MISALIGNED, &cap);
  settings.spend_caps_len = probed_len(7, BYTES, 1);
  return checked(tollgate_token_put(P(0, f->store), Q(1, f->digest), T(2, "acme"), &settings, NOW_MS));
}
CASE(tollgate_token_revoke) { return checked(tollgate_token_revoke(P(0, f->store), Q(1, f->digest), NOW_MS)); }
CASE(tollgate_token_rotate) {
  static const uint8_t fresh[32] = {9};
  return checked(tollgate_token_rotate(P(0, f->store), Q(1, f->digest), Q(2, fresh), 1000, NOW_MS));
}
CASE(tollgate_token_list) { return checked(tollgate_token_list(P(0, f->store), T(1, "acme"), NOW_MS, F(2, each_token), NULL)); }
CASE(tollgate_reservation_list) {
  return checked(tollgate_reservation_list(P(0, f->store), T(1, "acme"), NOW_MS, F(2, each_reservation), NULL));
}
CASE(tollgate_reservation_resolve) {
  tollgate_finish_t finish = probed_finish(f, 5);
  OUT(bool, has_posted);
  OUT(uint64_t, posted);
  return checked(tollgate_reservation_resolve(P(0, f->store), T(1, "acme"), f->held, P(2, &finish), NOW_MS,
                                              Q(3, &has_posted), P(4, &posted)));
}
CASE(tollgate_reservation_refund) {
  return checked(tollgate_reservation_refund(P(0, f->store), T(1, "acme"), f->posted, 1, T(2, "r-1"), NOW_MS));
}

#define ENTRY(name) {#name, probe_##name}
const probe_case_t probe_cases[] = {
    ENTRY(tollgate_abi_version), ENTRY(tollgate_version), ENTRY(tollgate_result_name), ENTRY(tollgate_last_error),
    ENTRY(tollgate_check_abi), ENTRY(tollgate_set_log), ENTRY(tollgate_policy_new), ENTRY(tollgate_policy_patch),
    ENTRY(tollgate_policy_trusts_proxies), ENTRY(tollgate_policy_warning_count), ENTRY(tollgate_policy_warning),
    ENTRY(tollgate_policy_free), ENTRY(tollgate_engine_new), ENTRY(tollgate_engine_reload), ENTRY(tollgate_engine_digest),
    ENTRY(tollgate_engine_free), ENTRY(tollgate_region_size), ENTRY(tollgate_region_fit), ENTRY(tollgate_region_create),
    ENTRY(tollgate_limits_region_attach), ENTRY(tollgate_limits_region_open), ENTRY(tollgate_limits_reclaim_dead),
    ENTRY(tollgate_limits_free), ENTRY(tollgate_store_memory_new), ENTRY(tollgate_store_lmdb_open),
    ENTRY(tollgate_store_redis_open), ENTRY(tollgate_store_composite_new), ENTRY(tollgate_store_host_open),
    ENTRY(tollgate_store_expire), ENTRY(tollgate_store_free), ENTRY(tollgate_decide), ENTRY(tollgate_decision_verdict),
    ENTRY(tollgate_decision_status), ENTRY(tollgate_decision_http_status), ENTRY(tollgate_decision_code),
    ENTRY(tollgate_decision_must_finish), ENTRY(tollgate_decision_holds_key), ENTRY(tollgate_decision_reserved),
    ENTRY(tollgate_decision_reservation), ENTRY(tollgate_decision_retry_at), ENTRY(tollgate_decision_shadows),
    ENTRY(tollgate_decision_route), ENTRY(tollgate_decision_account), ENTRY(tollgate_decision_store_error),
    ENTRY(tollgate_decision_headers), ENTRY(tollgate_decision_body), ENTRY(tollgate_decision_free), ENTRY(tollgate_finish),
    ENTRY(tollgate_operation_decide), ENTRY(tollgate_operation_finish), ENTRY(tollgate_operation_command),
    ENTRY(tollgate_operation_wants_body), ENTRY(tollgate_operation_perform), ENTRY(tollgate_operation_fail),
    ENTRY(tollgate_operation_decision), ENTRY(tollgate_operation_finished), ENTRY(tollgate_operation_free),
    ENTRY(tollgate_operation_redis_start), ENTRY(tollgate_operation_redis_calls), ENTRY(tollgate_operation_redis_call),
    ENTRY(tollgate_operation_redis_reply), ENTRY(tollgate_operation_redis_resume), ENTRY(tollgate_redis_new),
    ENTRY(tollgate_redis_free), ENTRY(tollgate_explain), ENTRY(tollgate_explanation_step_count),
    ENTRY(tollgate_explanation_step), ENTRY(tollgate_explanation_decision), ENTRY(tollgate_explanation_free),
    ENTRY(tollgate_account_put), ENTRY(tollgate_account_deposit), ENTRY(tollgate_account_wallet),
    ENTRY(tollgate_account_list), ENTRY(tollgate_token_generate), ENTRY(tollgate_token_put), ENTRY(tollgate_token_revoke),
    ENTRY(tollgate_token_rotate), ENTRY(tollgate_token_list), ENTRY(tollgate_reservation_list),
    ENTRY(tollgate_reservation_resolve), ENTRY(tollgate_reservation_refund),
};
const size_t probe_case_count = sizeof probe_cases / sizeof probe_cases[0];
