/* Engine, store, requests. */
#include "driver.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define TRY(call)                                  \
  do {                                             \
    tollgate_result_t tried = (call);              \
    if (tried != TOLLGATE_OK) return tried;        \
  } while (0)

const char *driver_last_error(void) { return tollgate_last_error(); }

/* Reads a policy. One that is wrong is read once more as a patch, because those errors have no lines, and so are what
   the library says of a policy that is no text. */
static tollgate_result_t read_policy(const char *json, size_t json_len, tollgate_policy_t **policy) {
  tollgate_result_t result = tollgate_policy_new(json, json_len, TOLLGATE_POLICY_JSON, policy);
  if (result != TOLLGATE_POLICY_INVALID) return result;
  TRY(tollgate_policy_new("{}", 2, TOLLGATE_POLICY_JSON, policy));
  result = tollgate_policy_patch(*policy, json, json_len);
  if (result != TOLLGATE_OK) tollgate_policy_free(*policy);
  return result;
}

tollgate_result_t driver_new(const char *policy_json, size_t policy_json_len, bool steps, driver_t **driver) {
  tollgate_policy_t *policy;
  TRY(tollgate_check_abi(TOLLGATE_ABI_VERSION));
  TRY(read_policy(policy_json, policy_json_len, &policy));
  driver_t *made = calloc(1, sizeof *made);
  tollgate_result_t result = TOLLGATE_PANIC;
  if (made != NULL) result = tollgate_engine_new(policy, NULL, 0, &made->engine);
  tollgate_policy_free(policy);
  if (result != TOLLGATE_OK) {
    free(made);
    return result;
  }
  made->steps = steps;
  *driver = made;
  return TOLLGATE_OK;
}

tollgate_result_t driver_store_memory(driver_t *driver) {
  return tollgate_store_memory_new(NULL, &driver->store);
}

static tollgate_result_t open_lmdb(const char *directory, size_t directory_len, tollgate_store_t **store) {
  tollgate_lmdb_options_t options = {.struct_size = sizeof options, .sync = TOLLGATE_SYNC_NEVER};
  return tollgate_store_lmdb_open(directory, directory_len, &options, store);
}

tollgate_result_t driver_store_lmdb(driver_t *driver, const char *directory, size_t directory_len) {
  return open_lmdb(directory, directory_len, &driver->store);
}

/* Limits in a region of anonymous memory, the rest on disk. The parts are freed at once: a composite keeps them. */
tollgate_result_t driver_store_composite(driver_t *driver, const char *directory, size_t directory_len) {
  tollgate_limits_t *limits;
  tollgate_store_t *accounts;
  if (driver->region == NULL) {
    const size_t cells = 2000, windows = 1000;
    size_t len;
    TRY(tollgate_region_size(cells, windows, &len));
    void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return TOLLGATE_STORE_NOT_OPENED;
    driver->region = memory;
    driver->region_len = len;
    TRY(tollgate_region_create(memory, len, cells, windows, NULL));
  }
  TRY(tollgate_limits_region_attach(driver->region, driver->region_len, &limits));
  tollgate_result_t result = open_lmdb(directory, directory_len, &accounts);
  if (result == TOLLGATE_OK) {
    result = tollgate_store_composite_new(limits, accounts, &driver->store);
    tollgate_store_free(accounts);
  }
  tollgate_limits_free(limits);
  return result;
}

/* Requests over the driver's own sockets; administration over a store that has its own. */
tollgate_result_t driver_store_redis(driver_t *driver, uint16_t port, const char *url, size_t url_len,
                                     const char *prefix, size_t prefix_len, bool cluster) {
  tollgate_redis_options_t options = {
      .struct_size = sizeof options, .prefix = prefix, .prefix_len = prefix_len, .response_timeout_ms = 10000};
  TRY(tollgate_store_redis_open(url, url_len, &options, &driver->store));
  options.cluster = cluster;
  TRY(tollgate_redis_new(&options, &driver->redis));
  driver->connections = connections_new(port);
  return driver->connections == NULL ? TOLLGATE_PANIC : TOLLGATE_OK;
}

void driver_close_store(driver_t *driver) {
  tollgate_store_free(driver->store);
  tollgate_redis_free(driver->redis);
  connections_free(driver->connections);
  driver->store = NULL;
  driver->redis = NULL;
  driver->connections = NULL;
}

/* Everything that was decided is freed before. */
void driver_free(driver_t *driver) {
  driver_close_store(driver);
  tollgate_engine_free(driver->engine);
  if (driver->region != NULL) munmap(driver->region, driver->region_len);
  free(driver);
}

tollgate_result_t driver_reload(const driver_t *driver, const char *policy_json, size_t policy_json_len) {
  tollgate_policy_t *policy;
  TRY(read_policy(policy_json, policy_json_len, &policy));
  tollgate_result_t result = tollgate_engine_reload(driver->engine, policy);
  tollgate_policy_free(policy);
  return result;
}

/* Performs what the operation asks for; stops before a command for which the body should have been there. */
static tollgate_result_t perform(const driver_t *driver, tollgate_operation_t *operation, bool has_body) {
  while (tollgate_operation_command(operation) != TOLLGATE_COMMAND_NONE) {
    if (!has_body && tollgate_operation_wants_body(operation)) return TOLLGATE_NOT_READY;
    if (driver->redis != NULL) TRY(perform_over_redis(driver->connections, driver->redis, operation));
    else TRY(tollgate_operation_perform(operation, driver->store));
  }
  return TOLLGATE_OK;
}

/* In steps, first without the body, as a server does that has not read it yet. If it turns out to be needed, once more with
   its digest, as a server has it that hashed what it read. */
static tollgate_result_t decide_in_steps(const driver_t *driver, tollgate_request_t request,
                                         const uint8_t *body_sha256, tollgate_decision_t **decision) {
  tollgate_operation_t *operation;
  request.body = NULL;
  request.body_len = 0;
  TRY(tollgate_operation_decide(driver->engine, &request, true, &operation));
  tollgate_result_t result = perform(driver, operation, false);
  if (result == TOLLGATE_NOT_READY) {
    tollgate_operation_free(operation);
    request.body_sha256 = body_sha256;
    TRY(tollgate_operation_decide(driver->engine, &request, false, &operation));
    result = perform(driver, operation, true);
  }
  if (result == TOLLGATE_OK) result = tollgate_operation_decision(operation, decision);
  tollgate_operation_free(operation);
  return result;
}

tollgate_result_t driver_decide(const driver_t *driver, uint64_t now_ms, const char *method, size_t method_len,
                                const char *target, size_t target_len, const driver_texts_t *names,
                                const driver_texts_t *values, const uint8_t *peer, size_t peer_len,
                                const uint8_t *body, size_t body_len, const uint8_t *body_sha256,
                                const uint64_t *cost, bool peek, const char *sender, size_t sender_len,
                                const char *invalid, size_t invalid_len, tollgate_decision_t **decision) {
  tollgate_header_t *headers = calloc(names->count + 1, sizeof *headers);
  if (headers == NULL) return TOLLGATE_PANIC;
  for (size_t i = 0; i < names->count; i++) {
    headers[i].name = names->data[i];
    headers[i].name_len = names->len[i];
    headers[i].value = values->data[i];
    headers[i].value_len = values->len[i];
  }
  tollgate_request_t request;
  memset(&request, 0, sizeof request);
  request.struct_size = sizeof request;
  request.now_ms = now_ms;
  request.method = method;
  request.method_len = method_len;
  request.target = target;
  request.target_len = target_len;
  request.headers = headers;
  request.headers_len = names->count;
  request.peer = peer;
  request.peer_len = peer_len;
  request.body = body;
  request.body_len = body_len;
  request.has_cost = cost != NULL;
  request.cost = cost != NULL ? *cost : 0;
  request.peek = peek;
  request.sender = sender;
  request.sender_len = sender_len;
  request.invalid = invalid;
  request.invalid_len = invalid_len;
  tollgate_result_t result = driver->steps
                                 ? decide_in_steps(driver, request, body_sha256, decision)
                                 : tollgate_decide(driver->engine, driver->store, &request, decision);
  free(headers);
  return result;
}

/* 'a', 'd' or 'r'; '?' for anything else. */
uint32_t driver_verdict(const tollgate_decision_t *decision) {
  switch (tollgate_decision_verdict(decision)) {
    case TOLLGATE_ALLOW: return 'a';
    case TOLLGATE_DENY: return 'd';
    case TOLLGATE_REPLAY: return 'r';
    default: return '?';
  }
}

/* Which status, by its name in the header; the code that goes with it is the library's. */
const char *driver_status(const tollgate_decision_t *decision) {
  switch (tollgate_decision_status(decision)) {
    case TOLLGATE_STATUS_ALLOWED: return "allowed";
    case TOLLGATE_STATUS_REPLAYED: return "replayed";
    case TOLLGATE_STATUS_MISSING_TOKEN: return "missing_token";
    case TOLLGATE_STATUS_INVALID_TOKEN: return "invalid_token";
    case TOLLGATE_STATUS_IP_NOT_ALLOWED: return "ip_not_allowed";
    case TOLLGATE_STATUS_INSUFFICIENT_SCOPE: return "insufficient_scope";
    case TOLLGATE_STATUS_RATE_LIMITED: return "rate_limited";
    case TOLLGATE_STATUS_IDEMPOTENCY_IN_FLIGHT: return "idempotency_in_flight";
    case TOLLGATE_STATUS_IDEMPOTENCY_KEY_REUSED: return "idempotency_key_reused";
    case TOLLGATE_STATUS_IDEMPOTENCY_KEY_INVALID: return "idempotency_key_invalid";
    case TOLLGATE_STATUS_SENDER_NOT_APPROVED: return "sender_not_approved";
    case TOLLGATE_STATUS_VALIDATION_FAILED: return "validation_failed";
    case TOLLGATE_STATUS_SPEND_CAP_EXCEEDED: return "spend_cap_exceeded";
    case TOLLGATE_STATUS_INSUFFICIENT_BALANCE: return "insufficient_balance";
    case TOLLGATE_STATUS_STORE_UNAVAILABLE: return "store_unavailable";
    default: return "unknown";
  }
}

const char *driver_code(const tollgate_decision_t *decision) { return tollgate_decision_code(decision); }

uint32_t driver_http_status(const tollgate_decision_t *decision) { return tollgate_decision_http_status(decision); }

bool driver_must_finish(const tollgate_decision_t *decision) { return tollgate_decision_must_finish(decision); }

bool driver_reserved(const tollgate_decision_t *decision, uint64_t *amount) {
  return tollgate_decision_reserved(decision, amount);
}

bool driver_reservation(const tollgate_decision_t *decision, uint64_t *number) {
  return tollgate_decision_reservation(decision, number);
}

tollgate_result_t driver_account(const tollgate_decision_t *decision, void *user, driver_bytes_fn each) {
  char buffer[255];
  size_t len;
  TRY(tollgate_decision_account(decision, buffer, sizeof buffer, &len));
  each(user, buffer, len);
  return TOLLGATE_OK;
}

tollgate_result_t driver_route(const tollgate_decision_t *decision, void *user, driver_bytes_fn each) {
  tollgate_str_t route;
  TRY(tollgate_decision_route(decision, &route));
  each(user, route.data, route.len);
  return TOLLGATE_OK;
}

/* First into what is enough for the library's own, then into as much as it says. */
tollgate_result_t driver_headers(const tollgate_decision_t *decision, void *user, driver_header_fn each) {
  tollgate_header_t few[16], *headers = few;
  char small[1024], *buffer = small;
  size_t count, used;
  tollgate_result_t result = tollgate_decision_headers(decision, headers, 16, &count, buffer, sizeof small, &used);
  if (result == TOLLGATE_BUFFER_TOO_SMALL) {
    size_t max = count, capacity = used;
    headers = calloc(max + 1, sizeof *headers);
    buffer = malloc(capacity + 1);
    if (headers == NULL || buffer == NULL) abort();
    result = tollgate_decision_headers(decision, headers, max, &count, buffer, capacity, &used);
  }
  for (size_t i = 0; result == TOLLGATE_OK && i < count; i++)
    each(user, headers[i].name, headers[i].name_len, headers[i].value, headers[i].value_len);
  if (headers != few) {
    free(headers);
    free(buffer);
  }
  return result;
}

tollgate_result_t driver_body(const tollgate_decision_t *decision, void *user, driver_bytes_fn each) {
  size_t len = 0;
  tollgate_result_t result = tollgate_decision_body(decision, NULL, 0, &len);
  if (result != TOLLGATE_BUFFER_TOO_SMALL) return result;
  char *buffer = malloc(len);
  if (buffer == NULL) return TOLLGATE_PANIC;
  result = tollgate_decision_body(decision, buffer, len, &len);
  if (result == TOLLGATE_OK) each(user, buffer, len);
  free(buffer);
  return result;
}

void driver_decision_free(tollgate_decision_t *decision) { tollgate_decision_free(decision); }
