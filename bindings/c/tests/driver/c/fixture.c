#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "hostile.h"

const char *failure(const char *format, ...) {
  static _Thread_local char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return text;
}

#define MUST(call)                                                                                  \
  do {                                                                                              \
    if ((call) != TOLLGATE_OK) {                                                                    \
      fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, tollgate_last_error());         \
      abort();                                                                                      \
    }                                                                                               \
  } while (0)

static tollgate_host_result_t begin(void *user, bool writes, void **transaction) {
  (void)user, (void)writes, (void)transaction;
  return TOLLGATE_HOST_UNAVAILABLE;
}
static tollgate_host_result_t get(void *t, const uint8_t *key, size_t key_len, const uint8_t **value, size_t *len) {
  (void)t, (void)key, (void)key_len, (void)value, (void)len;
  return TOLLGATE_HOST_UNAVAILABLE;
}
static tollgate_host_result_t first(void *t, const uint8_t *key, size_t key_len, const uint8_t **found,
                                    size_t *found_len, const uint8_t **value, size_t *len) {
  (void)t, (void)key, (void)key_len, (void)found, (void)found_len, (void)value, (void)len;
  return TOLLGATE_HOST_UNAVAILABLE;
}
static tollgate_host_result_t put(void *t, const uint8_t *key, size_t key_len, const uint8_t *value, size_t len) {
  (void)t, (void)key, (void)key_len, (void)value, (void)len;
  return TOLLGATE_HOST_UNAVAILABLE;
}
static tollgate_host_result_t remove_key(void *t, const uint8_t *key, size_t key_len) {
  (void)t, (void)key, (void)key_len;
  return TOLLGATE_HOST_UNAVAILABLE;
}
static tollgate_host_result_t commit(void *t) {
  (void)t;
  return TOLLGATE_HOST_UNAVAILABLE;
}
static void rollback(void *t) { (void)t; }

const tollgate_host_map_t no_map = {.struct_size = sizeof(tollgate_host_map_t),
                                    .begin = begin,
                                    .get = get,
                                    .first = first,
                                    .put = put,
                                    .remove = remove_key,
                                    .commit = commit,
                                    .rollback = rollback};

static void set_header(tollgate_header_t *header, const char *name, const char *value) {
  header->name = name;
  header->name_len = strlen(name);
  header->value = value;
  header->value_len = strlen(value);
}

static tollgate_operation_t *performed(const fixture_t *f, tollgate_operation_t *operation) {
  while (tollgate_operation_command(operation) != TOLLGATE_COMMAND_NONE)
    MUST(tollgate_operation_perform(operation, f->store));
  return operation;
}

fixture_t *fixture_new(const char *directory) {
  static const char patch[] = "{\"tokens\": {\"format\": \"opaque\"}, \"source\": {\"trusted_proxies\": [\"0.0.0.0/0\"]}}";
  static const uint8_t peer[4] = {192, 0, 2, 1};
  fixture_t *f = calloc(1, sizeof *f);
  if (f == NULL) abort();
  f->directory = directory;
  MUST(tollgate_policy_new("sms-gateway", 11, TOLLGATE_POLICY_PRESET, &f->policy));
  MUST(tollgate_policy_patch(f->policy, patch, strlen(patch)));
  MUST(tollgate_engine_new(f->policy, NULL, 0, &f->engine));
  MUST(tollgate_store_memory_new(NULL, &f->store));

  MUST(tollgate_region_size(100, 10, &f->region_len));
  f->region = mmap(NULL, f->region_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  f->spare_region = mmap(NULL, f->region_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (f->region == MAP_FAILED || f->spare_region == MAP_FAILED) abort();
  MUST(tollgate_region_create(f->region, f->region_len, 100, 10, NULL));
  MUST(tollgate_limits_region_attach(f->region, f->region_len, &f->limits));

  tollgate_str_t scope = {"sms:send", 8};
  tollgate_token_settings_t settings = {.struct_size = sizeof settings, .scopes = &scope, .scopes_len = 1, .set_scopes = 1};
  MUST(tollgate_account_put(f->store, "acme", 4, 100, NULL, NOW_MS));
  MUST(tollgate_engine_digest(f->engine, "t-1", 3, f->digest));
  MUST(tollgate_token_put(f->store, f->digest, "acme", 4, &settings, NOW_MS));
  MUST(tollgate_engine_digest(f->engine, "t-2", 3, f->other_digest));
  settings.quota_limit = 1;
  settings.quota_window_ms = 60000;
  settings.set_quota = 1;
  MUST(tollgate_token_put(f->store, f->other_digest, "acme", 4, &settings, NOW_MS));

  set_header(&f->headers[0], "Authorization", "Bearer t-2");
  set_header(&f->headers[1], "Idempotency-Key", "key-1");
  tollgate_request_t *request = &f->request;
  request->struct_size = sizeof *request;
  request->now_ms = NOW_MS;
  request->method = "POST";
  request->method_len = 4;
  request->target = "/sms/send";
  request->target_len = 9;
  request->headers = f->headers;
  request->headers_len = 1;
  request->peer = peer;
  request->peer_len = 4;
  for (int i = 0; i < 2; i++) {
    tollgate_decision_free(f->denied);
    MUST(tollgate_decide(f->engine, f->store, request, &f->denied));
  }
  f->headers[0].value = "Bearer t-1";
  request->headers_len = 2;
  request->body = (const uint8_t *)"hello";
  request->body_len = 5;
  request->has_cost = 1;
  request->cost = 5;
  MUST(tollgate_decide(f->engine, f->store, request, &f->allowed));
  MUST(tollgate_explain(f->engine, f->store, request, &f->explanation));

  set_header(&f->kept[0], "Location", "/sms/1");
  f->response.struct_size = sizeof f->response;
  f->response.status = 201;
  f->response.headers = f->kept;
  f->response.headers_len = 1;
  f->response.body = (const uint8_t *)"sent";
  f->response.body_len = 4;
  f->finish.struct_size = sizeof f->finish;
  f->finish.outcome = TOLLGATE_SETTLE;
  f->finish.response = &f->response;

  f->headers[1].value = "key-2"; /* of the same length */
  MUST(tollgate_operation_decide(f->engine, request, true, &f->asking));
  MUST(tollgate_operation_decide(f->engine, request, true, &f->carried));
  MUST(tollgate_operation_decide(f->engine, request, true, &f->looked_up));
  MUST(tollgate_operation_perform(f->looked_up, f->store));
  f->headers[1].value = "key-3";
  MUST(tollgate_operation_decide(f->engine, request, false, &f->decided));
  performed(f, f->decided);
  MUST(tollgate_operation_finish(f->allowed, &f->finish, NOW_MS, &f->settling));
  tollgate_decision_t *another;
  f->headers[1].value = "key-4";
  MUST(tollgate_decide(f->engine, f->store, request, &another));
  MUST(tollgate_operation_finish(another, &f->finish, NOW_MS, &f->settled));
  performed(f, f->settled);
  if (!tollgate_decision_reservation(f->allowed, &f->held)) abort();
  if (!tollgate_decision_reservation(another, &f->posted)) abort();
  tollgate_decision_free(another);
  f->headers[1].value = "key-5";

  MUST(tollgate_redis_new(NULL, &f->redis));
  MUST(tollgate_operation_redis_start(f->carried, f->redis, NULL));
  return f;
}

void fixture_free(fixture_t *f) {
  tollgate_operation_free(f->carried);
  tollgate_redis_free(f->redis);
  tollgate_operation_free(f->settled);
  tollgate_operation_free(f->settling);
  tollgate_operation_free(f->decided);
  tollgate_operation_free(f->asking);
  tollgate_operation_free(f->looked_up);
  tollgate_explanation_free(f->explanation);
  tollgate_decision_free(f->denied);
  tollgate_decision_free(f->allowed);
  tollgate_limits_free(f->limits);
  munmap(f->region, f->region_len);
  munmap(f->spare_region, f->region_len);
  tollgate_store_free(f->store);
  tollgate_engine_free(f->engine);
  tollgate_policy_free(f->policy);
  free(f);
}
