/* Structs that callers fill in, by callers that know less of them or more, at the edge of what may be read. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hostile.h"

typedef struct sized {
  const char *name;
  size_t size;
  const void *(*good)(fixture_t *f);
  tollgate_result_t (*call)(fixture_t *f, const void *given);
  /* With all members but the size zero. */
  tollgate_result_t when_empty;
} sized_t;

#define NOTHING_SET(type)                       \
  static const void *good_##type(fixture_t *f) { \
    static type##_t value;                      \
    (void)f;                                    \
    memset(&value, 0, sizeof value);            \
    value.struct_size = sizeof value;           \
    return &value;                              \
  }

static const void *good_tollgate_request(fixture_t *f) { return &f->request; }
static tollgate_result_t call_tollgate_request(fixture_t *f, const void *given) {
  tollgate_decision_t *decision = NULL;
  tollgate_operation_t *operation = NULL;
  tollgate_explanation_t *explanation = NULL;
  tollgate_result_t result = tollgate_decide(f->engine, f->store, given, &decision);
  tollgate_result_t in_steps = tollgate_operation_decide(f->engine, given, false, &operation);
  tollgate_result_t explained = tollgate_explain(f->engine, f->store, given, &explanation);
  tollgate_decision_free(decision);
  tollgate_operation_free(operation);
  tollgate_explanation_free(explanation);
  return result == in_steps && result == explained ? result : TOLLGATE_PANIC;
}

static const void *good_tollgate_finish(fixture_t *f) { return &f->finish; }
static tollgate_result_t call_tollgate_finish(fixture_t *f, const void *given) {
  bool has_posted;
  uint64_t posted;
  tollgate_operation_t *operation = NULL;
  tollgate_result_t result = tollgate_operation_finish(f->allowed, given, NOW_MS, &operation);
  tollgate_operation_free(operation);
  /* Of a denied request nothing is finished, but how is read. */
  tollgate_result_t finished = tollgate_finish(f->denied, f->store, given, NOW_MS, &has_posted, &posted);
  return finished == result ? result : TOLLGATE_PANIC;
}

static const void *good_tollgate_response(fixture_t *f) { return &f->response; }
static tollgate_result_t call_tollgate_response(fixture_t *f, const void *given) {
  tollgate_finish_t finish = f->finish;
  finish.response = given;
  return call_tollgate_finish(f, &finish);
}

static const void *good_tollgate_account_settings(fixture_t *f) {
  static tollgate_account_settings_t settings;
  static tollgate_str_t network;
  (void)f;
  network.data = "192.0.2.0/24";
  network.len = 12;
  memset(&settings, 0, sizeof settings);
  settings.struct_size = sizeof settings;
  settings.networks = &network;
  settings.networks_len = 1;
  settings.set_networks = 1;
  return &settings;
}
static tollgate_result_t call_tollgate_account_settings(fixture_t *f, const void *given) {
  return tollgate_account_put(f->store, "acme", 4, 0, given, NOW_MS);
}

NOTHING_SET(tollgate_token_settings)
static tollgate_result_t call_tollgate_token_settings(fixture_t *f, const void *given) {
  return tollgate_token_put(f->store, f->digest, "acme", 4, given, NOW_MS);
}

static tollgate_result_t opened(tollgate_store_t *store, tollgate_result_t result) {
  tollgate_store_free(store);
  return result;
}

NOTHING_SET(tollgate_memory_options)
static tollgate_result_t call_tollgate_memory_options(fixture_t *f, const void *given) {
  tollgate_store_t *store = NULL;
  (void)f;
  tollgate_result_t result = tollgate_store_memory_new(given, &store);
  return opened(store, result);
}

NOTHING_SET(tollgate_lmdb_options)
static tollgate_result_t call_tollgate_lmdb_options(fixture_t *f, const void *given) {
  tollgate_store_t *store = NULL;
  tollgate_result_t result = tollgate_store_lmdb_open(f->directory, strlen(f->directory), given, &store);
  return opened(store, result);
}

NOTHING_SET(tollgate_redis_options)
static tollgate_result_t call_tollgate_redis_options(fixture_t *f, const void *given) {
  tollgate_redis_t *redis = NULL;
  tollgate_store_t *store = NULL;
  (void)f;
  tollgate_result_t result = tollgate_redis_new(given, &redis);
  tollgate_redis_free(redis);
  tollgate_result_t open = tollgate_store_redis_open("redis://127.0.0.1:1", 19, given, &store);
  tollgate_store_free(store);
  return open == result ? result : TOLLGATE_PANIC;
}

static const void *good_tollgate_host_map(fixture_t *f) {
  (void)f;
  return &no_map;
}
static tollgate_result_t call_tollgate_host_map(fixture_t *f, const void *given) {
  tollgate_store_t *store = NULL;
  (void)f;
  tollgate_result_t result = tollgate_store_host_open(given, NULL, NULL, &store);
  /* The map does not answer, which says that it was asked. */
  return result == TOLLGATE_STORE_UNAVAILABLE ? opened(store, TOLLGATE_OK) : result;
}

NOTHING_SET(tollgate_host_options)
static tollgate_result_t call_tollgate_host_options(fixture_t *f, const void *given) {
  tollgate_store_t *store = NULL;
  (void)f;
  tollgate_result_t result = tollgate_store_host_open(&no_map, NULL, given, &store);
  return result == TOLLGATE_STORE_UNAVAILABLE ? opened(store, TOLLGATE_OK) : result;
}

#define ENTRY(type, when_empty) {#type "_t", sizeof(type##_t), good_##type, call_##type, when_empty}
static const sized_t structs[] = {
    ENTRY(tollgate_request, TOLLGATE_OK),
    ENTRY(tollgate_finish, TOLLGATE_INVALID_ARGUMENT),
    ENTRY(tollgate_response, TOLLGATE_INVALID_ARGUMENT),
    ENTRY(tollgate_account_settings, TOLLGATE_OK),
    ENTRY(tollgate_token_settings, TOLLGATE_OK),
    ENTRY(tollgate_memory_options, TOLLGATE_OK),
    ENTRY(tollgate_lmdb_options, TOLLGATE_OK),
    ENTRY(tollgate_redis_options, TOLLGATE_OK),
    ENTRY(tollgate_host_map, TOLLGATE_NULL_POINTER),
    ENTRY(tollgate_host_options, TOLLGATE_OK),
};

const char *hostile_struct(size_t index) {
  return index < sizeof structs / sizeof structs[0] ? structs[index].name : NULL;
}

/* Calls with the first `len` bytes of a struct that says it is `size` long. They end where memory ends. */
static tollgate_result_t cut(const sized_t *sized, fixture_t *f, const void *from, size_t len, size_t size,
                             unsigned char *end) {
  size_t place = len < sizeof(size_t) ? sizeof(size_t) : len;
  unsigned char *at = end - place;
  memset(at, 0, place);
  memcpy(at, from, len < sized->size ? len : sized->size);
  memcpy(at, &size, sizeof size);
  return sized->call(f, at);
}

const char *hostile_struct_size(size_t index, const char *directory) {
  const sized_t *sized = &structs[index];
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  unsigned char *pages = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED || mprotect(pages + 2 * page, page, PROT_NONE) != 0) return "no memory";
  unsigned char *end = pages + 2 * page, whole[4096];
  fixture_t *f = fixture_new(directory);
  memset(whole, 0, sizeof whole);
  memcpy(whole, sized->good(f), sized->size);
  const size_t size = sized->size;

#define EXPECT(expected, len, says)                                                                            \
  do {                                                                                                         \
    tollgate_result_t result = cut(sized, f, whole, len, says, end);                                           \
    if (result != (expected))                                                                                  \
      return failure("%s, %zu bytes of %zu, struct_size %zu: %s, \"%s\"", sized->name, (size_t)(len), size,    \
                     (size_t)(says), tollgate_result_name(result), tollgate_last_error());                     \
  } while (0)

  EXPECT(TOLLGATE_OK, size, size);
  for (size_t says = 0; says < sizeof(size_t); says++) EXPECT(TOLLGATE_INVALID_ARGUMENT, says, says);
  EXPECT(TOLLGATE_INVALID_ARGUMENT, size, SIZE_MAX);
  EXPECT(TOLLGATE_INVALID_ARGUMENT, size, 4097);
  EXPECT(sized->when_empty, sizeof(size_t), sizeof(size_t));
  /* An older caller: as if the rest were zero. */
  for (size_t len = sizeof(size_t); len <= size; len += sizeof(size_t)) {
    unsigned char zeroed[4096];
    memset(zeroed, 0, sizeof zeroed);
    memcpy(zeroed, whole, len);
    tollgate_result_t expected = cut(sized, f, zeroed, size, size, end);
    if (expected == TOLLGATE_PANIC) return failure("%s: %s", sized->name, tollgate_last_error());
    EXPECT(expected, len, len);
  }
  /* A newer caller, who does not use what this library does not know; and one who does. */
  EXPECT(TOLLGATE_OK, size + 64, size + 64);
  unsigned char *at = end - (size + 64);
  memset(at, 0, size + 64);
  memcpy(at, whole, size);
  size_t says = size + 64;
  memcpy(at, &says, sizeof says);
  at[size + 63] = 1;
  tollgate_result_t newer = sized->call(f, at);
  if (newer != TOLLGATE_INVALID_ARGUMENT) return failure("%s: took a member that it does not know", sized->name);
  fixture_free(f);
  munmap(pages, 3 * page);
  return NULL;
}
