/*
 * tollgate for nginx: what the module's files share.
 *
 * module.c    as nginx sees it            request.c    a request as the library reads it
 * conf.c      directives, inheritance     access.c     the access phase
 * policy.c    policies and engines        answer.c     denials and replays
 * store_conf.c  where state lives       filter.c     the response on its way out
 * store.c     stores of a worker          keep.c       what is kept of it for replays
 * thread.c    work in a thread pool       ending.c     how a request ended, and its settlement
 * variables.c $tollgate_...               body.c       bodies of requests that hold a key
 */

#ifndef NGX_HTTP_TOLLGATE_H
#define NGX_HTTP_TOLLGATE_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#if (NGX_THREADS)
#include <ngx_thread_pool.h>
#endif

#include <tollgate.h>

/* ---- configuration ---------------------------------------------------------------------- */

typedef struct {
    ngx_str_t                    name;      /* as written */
    ngx_str_t                    text;      /* of the policy, or the preset's name */
    tollgate_policy_format_t     format;
    unsigned                     trusts_proxies:1;
} ngx_http_tollgate_policy_t;

/* A policy with its proxies: one engine, made while the configuration is read. */
typedef struct {
    ngx_http_tollgate_policy_t  *policy;
    ngx_array_t                 *proxies;   /* ngx_str_t; NULL: the policy's own */
    tollgate_engine_t           *engine;
} ngx_http_tollgate_engine_t;

typedef enum {
    NGX_HTTP_TOLLGATE_NO_STORE = 0,
    NGX_HTTP_TOLLGATE_MEMORY,
    NGX_HTTP_TOLLGATE_LMDB,
    NGX_HTTP_TOLLGATE_REDIS
} ngx_http_tollgate_backend_e;

typedef struct {
    ngx_http_tollgate_backend_e  backend;
    ngx_str_t                    place;     /* LMDB's directory or Redis' URL */
    tollgate_sync_t              sync;
    ngx_msec_t                   sync_interval;
    off_t                        map_size;
    ngx_shm_zone_t              *zone;
    ngx_str_t                    pepper;
    ngx_array_t                  engines;   /* ngx_http_tollgate_engine_t */
    ngx_msec_t                   expire_interval;
    ngx_str_t                    pool_name;
    ngx_flag_t                   no_threads;
    ngx_uint_t                   pool_line;
#if (NGX_THREADS)
    ngx_thread_pool_t           *pool;
#endif
    unsigned                     used:1;         /* some location has `tollgate on` */
    unsigned                     pooled:1;       /* what writes goes to the pool */
    unsigned                     pooled_reads:1; /* look-ups too */

    /* Of this worker. */
    tollgate_limits_t           *limits;
    tollgate_store_t            *store;
    ngx_msec_t                   opened_at;      /* of the last attempt */
    ngx_event_t                  expire_event;
    ngx_queue_t                  tickets;        /* what must still be settled */
    unsigned                     expiring:1;
    unsigned                     tried:1;
    unsigned                     leaving:1;      /* the threads are gone */
#if (NGX_THREADS)
    ngx_thread_mutex_t           opening;
#endif
} ngx_http_tollgate_main_conf_t;

typedef struct {
    ngx_flag_t                   enable;
    ngx_http_tollgate_policy_t  *policy;
    ngx_array_t                 *proxies;
    ngx_http_tollgate_engine_t  *engine;
    ngx_http_complex_value_t    *cost;
    ngx_http_complex_value_t    *sender;
    ngx_http_complex_value_t    *invalid;
    ngx_http_complex_value_t    *charge;
    ngx_array_t                 *replay_headers; /* ngx_str_t, lower case */
    size_t                       max_response_body;
    ngx_uint_t                   fail;
    ngx_flag_t                   intercept;
    u_char                      *file;           /* where `tollgate_trusted_proxy` is */
    ngx_uint_t                   line;
} ngx_http_tollgate_loc_conf_t;

#define NGX_HTTP_TOLLGATE_FAIL_CLOSED  0
#define NGX_HTTP_TOLLGATE_FAIL_OPEN    1

/* ---- a request ---------------------------------------------------------------------------- */

/*
 * What must be settled, exactly once. It is not the request's memory: its settlement may outlive
 * the request, in a thread.
 */
typedef struct {
    ngx_queue_t                     queue;       /* of the worker's, until it is settled */
    ngx_http_tollgate_main_conf_t  *tmcf;
    tollgate_decision_t            *decision;
    ngx_log_t                      *log;
    uint64_t                        now_ms;      /* when it ended */
    tollgate_finish_t               finish;
    tollgate_response_t             response;
    tollgate_header_t              *headers;     /* with their text in one allocation */
    u_char                         *body;
    size_t                          body_len;
    size_t                          body_size;
    size_t                          body_max;
    tollgate_result_t               result;
    uint64_t                        posted;
    bool                            has_posted;
    void                           *ctx;         /* the request's, while there is one */
    ngx_uint_t                      refs;        /* the request's and a settlement's */
    unsigned                        holds_key:1;
    unsigned                        too_long:1;
    unsigned                        settled:1;   /* or on the way to it */
} ngx_http_tollgate_ticket_t;

typedef enum {
    NGX_HTTP_TOLLGATE_NEW = 0,
    NGX_HTTP_TOLLGATE_ASKING,        /* in a thread */
    NGX_HTTP_TOLLGATE_ASKED,         /* it is back */
    NGX_HTTP_TOLLGATE_READING,       /* the body */
    NGX_HTTP_TOLLGATE_DECIDED,
    NGX_HTTP_TOLLGATE_LET_THROUGH,   /* undecided, as `tollgate_fail open` says */
    NGX_HTTP_TOLLGATE_ANSWERED
} ngx_http_tollgate_state_e;

typedef struct {
    ngx_http_tollgate_main_conf_t  *tmcf;
    ngx_http_tollgate_loc_conf_t   *tlcf;        /* of the location that decided */
    ngx_http_request_t             *request;
    ngx_http_tollgate_state_e       state;
    void                           *ask;         /* of access.c */
    tollgate_decision_t            *decision;    /* the ticket's, if there is one */
    ngx_http_tollgate_ticket_t     *ticket;
    uint64_t                        posted;

    /* Of the response. */
    ngx_chain_t                    *held;        /* its end, until the settlement is done */
    ngx_chain_t                   **last_held;
    off_t                           length;      /* of the body, -1: not known */
    off_t                           passed;
    tollgate_outcome_t              outcome;

    unsigned                        has_posted:1;
    unsigned                        body_read:1;
    unsigned                        closed:1;    /* the request is being given up */
    unsigned                        head_seen:1; /* a response has begun; `outcome` says how it ends */
    unsigned                        no_response:1; /* nothing is kept, the key is free */
    unsigned                        header_held:1;
    unsigned                        settling:1;  /* in a thread */
    unsigned                        ended:1;
    unsigned                        client_gone:1;
    unsigned                        cleanup_added:1;
} ngx_http_tollgate_ctx_t;

/* What is asked about a request; the texts are the request's own. */
typedef struct {
    tollgate_request_t              request;
    tollgate_header_t              *headers;
    u_char                          digest[32];
} ngx_http_tollgate_asked_t;

extern ngx_module_t  ngx_http_tollgate_module;

/* conf.c */
extern ngx_command_t  ngx_http_tollgate_commands[];
void *ngx_http_tollgate_create_main_conf(ngx_conf_t *cf);
char *ngx_http_tollgate_init_main_conf(ngx_conf_t *cf, void *conf);
void *ngx_http_tollgate_create_loc_conf(ngx_conf_t *cf);
char *ngx_http_tollgate_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child);
ngx_http_tollgate_engine_t *ngx_http_tollgate_get_engine(ngx_conf_t *cf,
    ngx_http_tollgate_policy_t *policy, ngx_array_t *proxies);

/* policy.c */
char *ngx_http_tollgate_policy(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_tollgate_trusted_proxy(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_int_t ngx_http_tollgate_read_file(ngx_conf_t *cf, ngx_str_t *name, ngx_str_t *text);

/* store_conf.c */
char *ngx_http_tollgate_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_tollgate_store(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_tollgate_threads(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_int_t ngx_http_tollgate_check_store(ngx_conf_t *cf, ngx_http_tollgate_main_conf_t *tmcf);

/* store.c */
ngx_int_t ngx_http_tollgate_init_process(ngx_cycle_t *cycle);
void ngx_http_tollgate_exit_process(ngx_cycle_t *cycle);
tollgate_store_t *ngx_http_tollgate_get_store(ngx_http_tollgate_main_conf_t *tmcf);

/* request.c */
uint64_t ngx_http_tollgate_now_ms(void);
ngx_int_t ngx_http_tollgate_parse_amount(ngx_str_t *text, uint64_t *amount);
ngx_int_t ngx_http_tollgate_ask_about(ngx_http_request_t *r, ngx_http_tollgate_loc_conf_t *tlcf,
    ngx_http_tollgate_asked_t *asked);
ngx_table_elt_t *ngx_http_tollgate_find_header(ngx_list_t *list, const char *name, size_t len);
ngx_int_t ngx_http_tollgate_remove_range(ngx_http_request_t *r);

/* body.c */
ngx_uint_t ngx_http_tollgate_has_body(ngx_http_request_t *r);
ngx_int_t ngx_http_tollgate_add_body(ngx_http_request_t *r, ngx_http_tollgate_asked_t *asked);

/* access.c */
ngx_int_t ngx_http_tollgate_access_handler(ngx_http_request_t *r);
ngx_http_tollgate_ctx_t *ngx_http_tollgate_get_ctx(ngx_http_request_t *r);

/* answer.c */
ngx_int_t ngx_http_tollgate_answer(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx);
ngx_int_t ngx_http_tollgate_unavailable(ngx_http_request_t *r);
ngx_int_t ngx_http_tollgate_add_headers(ngx_http_request_t *r, tollgate_decision_t *decision);

/* keep.c */
ngx_int_t ngx_http_tollgate_keep_head(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx);
void ngx_http_tollgate_keep_body(ngx_http_tollgate_ticket_t *ticket, ngx_buf_t *buf);

/* ending.c */
ngx_int_t ngx_http_tollgate_add_cleanup(ngx_http_tollgate_ctx_t *ctx);
ngx_http_tollgate_ticket_t *ngx_http_tollgate_open_ticket(ngx_http_tollgate_ctx_t *ctx);
void ngx_http_tollgate_judge(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx);
void ngx_http_tollgate_end(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx,
    ngx_uint_t whole);
void ngx_http_tollgate_settle_apart(ngx_http_tollgate_ticket_t *ticket);
ngx_int_t ngx_http_tollgate_settle(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx);
void ngx_http_tollgate_cleanup(void *data);
void ngx_http_tollgate_unref_ticket(ngx_http_tollgate_ticket_t *ticket);
void ngx_http_tollgate_settle_all(ngx_http_tollgate_main_conf_t *tmcf);

/* filter.c */
void ngx_http_tollgate_init_filters(void);
void ngx_http_tollgate_release(ngx_http_request_t *r, ngx_http_tollgate_ctx_t *ctx);

/* thread.c */
#if (NGX_THREADS)
ngx_int_t ngx_http_tollgate_post_task(ngx_http_tollgate_main_conf_t *tmcf,
    ngx_thread_task_t *task);
ngx_uint_t ngx_http_tollgate_task_runs(ngx_event_t *ev);
#endif

/* variables.c */
ngx_int_t ngx_http_tollgate_add_variables(ngx_conf_t *cf);

#endif
