/* What the tests ask of a C program that uses tollgate. It calls the public interface only, so that structs and
   numbers are exercised as a C compiler sees them. Numbers go by letters here: what they are is the header's. */
#ifndef DRIVER_H
#define DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tollgate.h"

/* An engine with its store. Threads: as engine and store, any number at once. */
typedef struct driver {
  tollgate_engine_t *engine;
  tollgate_store_t *store;
  /* Decides and finishes by operations, in steps. */
  bool steps;
  /* Carries bytes to this server, for operations; `store` is for administration then. */
  tollgate_redis_t *redis;
  struct connections *connections;
  /* The region of a composite. */
  void *region;
  size_t region_len;
} driver_t;

/* Texts as two rows of the same length. */
typedef struct driver_texts {
  const char *const *data;
  const size_t *len;
  size_t count;
} driver_texts_t;

typedef struct driver_caps {
  const uint32_t *per; /* 'd', 'm' or 'l' each */
  const uint64_t *amounts;
  const uint8_t *shadow;
  size_t count;
} driver_caps_t;

/* Takes one header, or one piece of bytes. */
typedef void (*driver_header_fn)(void *user, const char *name, size_t name_len, const char *value, size_t value_len);
typedef void (*driver_bytes_fn)(void *user, const char *data, size_t len);

/* redis.c: performs the command that an operation asks for over sockets of the driver's own. */
struct connections *connections_new(uint16_t port);
void connections_free(struct connections *connections);
tollgate_result_t perform_over_redis(struct connections *connections, const tollgate_redis_t *redis,
                                     tollgate_operation_t *operation);

#endif
