/* Stores of a worker: opened, expired, closed. */

#include "ngx_http_tollgate.h"

#include <signal.h>

static ngx_int_t ngx_http_tollgate_open(ngx_http_tollgate_main_conf_t *tmcf);
static tollgate_result_t ngx_http_tollgate_open_backend(ngx_http_tollgate_main_conf_t *tmcf,
    tollgate_store_t **store);
static void ngx_http_tollgate_expire_handler(ngx_event_t *ev);
static void ngx_http_tollgate_log(void *user, tollgate_log_level_t level, const char *message,
    size_t len);

/* Between two attempts to open a store. */
#define NGX_HTTP_TOLLGATE_PAUSE  1000


ngx_int_t
ngx_http_tollgate_init_process(ngx_cycle_t *cycle)
{
    size_t                          dead;
    ngx_str_t                      *region;
    ngx_http_tollgate_main_conf_t  *tmcf;

    tmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_tollgate_module);

    if (tmcf == NULL || !tmcf->used
        || (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    (void) tollgate_set_log(ngx_http_tollgate_log, NULL);

    if (tmcf->zone) {
        region = tmcf->zone->data;

        if (tollgate_limits_region_attach(region->data, region->len, &tmcf->limits)
            != TOLLGATE_OK)
        {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "tollgate_zone: %s",
                          tollgate_last_error());

        } else {
            (void) tollgate_limits_reclaim_dead(tmcf->limits, ngx_http_tollgate_now_ms(), &dead);
        }
    }

#if (NGX_THREADS)

    if (ngx_thread_mutex_create(&tmcf->opening, cycle->log) != NGX_OK) {
        return NGX_ERROR;
    }

#endif

    /* What waits for the network is opened in the thread of the first request. */

    if (!tmcf->pooled_reads) {
        (void) ngx_http_tollgate_get_store(tmcf);
    }

    /* One worker will do. */

    if (ngx_worker == 0 && tmcf->expire_interval) {
        tmcf->expire_event.handler = ngx_http_tollgate_expire_handler;
        tmcf->expire_event.data = tmcf;
        tmcf->expire_event.log = cycle->log;
        tmcf->expire_event.cancelable = 1;
        ngx_add_timer(&tmcf->expire_event, tmcf->expire_interval);
    }

    return NGX_OK;
}


void
ngx_http_tollgate_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_tollgate_main_conf_t  *tmcf;

    tmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_tollgate_module);

    if (tmcf == NULL || !tmcf->used) {
        return;
    }

    ngx_http_tollgate_settle_all(tmcf);

    tollgate_store_free(tmcf->store);
    tmcf->store = NULL;

    tollgate_limits_free(tmcf->limits);
    tmcf->limits = NULL;

    (void) tollgate_set_log(NULL, NULL);
}


/* The store, opened if need be; NULL where that fails. Called in workers and in their threads. */

tollgate_store_t *
ngx_http_tollgate_get_store(ngx_http_tollgate_main_conf_t *tmcf)
{
    tollgate_store_t  *store;

#if (NGX_THREADS)
    if (ngx_thread_mutex_lock(&tmcf->opening, ngx_cycle->log) != NGX_OK) {
        return NULL;
    }
#endif

    store = ngx_http_tollgate_open(tmcf) == NGX_OK ? tmcf->store : NULL;

#if (NGX_THREADS)
    (void) ngx_thread_mutex_unlock(&tmcf->opening, ngx_cycle->log);
#endif

    return store;
}


static ngx_int_t
ngx_http_tollgate_open(ngx_http_tollgate_main_conf_t *tmcf)
{
    int                 err;
    sigset_t            all, old;
    tollgate_store_t   *store, *composite;
    tollgate_result_t   result;

    if (tmcf->store) {
        return NGX_OK;
    }

    if (tmcf->tried && ngx_current_msec - tmcf->opened_at < NGX_HTTP_TOLLGATE_PAUSE) {
        return NGX_ERROR;
    }

    tmcf->tried = 1;
    tmcf->opened_at = ngx_current_msec;

    /* Limits that cannot be counted are no limits. */

    if (tmcf->zone && tmcf->limits == NULL) {
        return NGX_ERROR;
    }

    /* The store's threads must not take signals: they are meant to wake the worker's loop. */

    sigfillset(&all);

    err = pthread_sigmask(SIG_BLOCK, &all, &old);
    if (err) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, err, "pthread_sigmask() failed");
        return NGX_ERROR;
    }

    result = ngx_http_tollgate_open_backend(tmcf, &store);

    if (result == TOLLGATE_OK && tmcf->limits) {
        result = tollgate_store_composite_new(tmcf->limits, store, &composite);
        tollgate_store_free(store);
        store = composite;
    }

    if (result != TOLLGATE_OK) {
        ngx_log_error(NGX_LOG_EMERG, ngx_cycle->log, 0, "tollgate_store: %s",
                      tollgate_last_error());

    } else {
        tmcf->store = store;
    }

    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);

    return result == TOLLGATE_OK ? NGX_OK : NGX_ERROR;
}


static tollgate_result_t
ngx_http_tollgate_open_backend(ngx_http_tollgate_main_conf_t *tmcf, tollgate_store_t **store)
{
    tollgate_lmdb_options_t  lmdb;

    switch (tmcf->backend) {

    case NGX_HTTP_TOLLGATE_LMDB:
        ngx_memzero(&lmdb, sizeof(lmdb));
        lmdb.struct_size = sizeof(lmdb);
        lmdb.map_bytes = (uint64_t) tmcf->map_size;
        lmdb.sync = tmcf->sync;
        lmdb.sync_interval_ms = tmcf->sync_interval;
        return tollgate_store_lmdb_open((char *) tmcf->place.data, tmcf->place.len, &lmdb, store);

    case NGX_HTTP_TOLLGATE_REDIS:
        return tollgate_store_redis_open((char *) tmcf->place.data, tmcf->place.len, NULL, store);

    default:
        return tollgate_store_memory_new(NULL, store);
    }
}


/* ---- expiry: money and keys whose time is over, also of accounts that nobody uses ------------ */

static void
ngx_http_tollgate_expire(ngx_http_tollgate_main_conf_t *tmcf, uint64_t now_ms)
{
    uint64_t           expired;
    tollgate_store_t  *store;

    store = ngx_http_tollgate_get_store(tmcf);

    if (store && tollgate_store_expire(store, now_ms, &expired) != TOLLGATE_OK) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "tollgate expiry: %s",
                      tollgate_last_error());
    }
}


#if (NGX_THREADS)

typedef struct {
    ngx_http_tollgate_main_conf_t  *tmcf;
    uint64_t                        now_ms;
} ngx_http_tollgate_expiry_t;


static void
ngx_http_tollgate_expire_thread(void *data, ngx_log_t *log)
{
    ngx_http_tollgate_expiry_t  *expiry = data;

    (void) log;
    ngx_http_tollgate_expire(expiry->tmcf, expiry->now_ms);
}


static void
ngx_http_tollgate_expired(ngx_event_t *ev)
{
    ngx_thread_task_t           *task = ev->data;
    ngx_http_tollgate_expiry_t  *expiry = task->ctx;

    expiry->tmcf->expiring = 0;
    ngx_free(task);
}


static ngx_int_t
ngx_http_tollgate_post_expiry(ngx_http_tollgate_main_conf_t *tmcf)
{
    ngx_thread_task_t           *task;
    ngx_http_tollgate_expiry_t  *expiry;

    task = ngx_calloc(sizeof(ngx_thread_task_t) + sizeof(ngx_http_tollgate_expiry_t),
                      ngx_cycle->log);
    if (task == NULL) {
        return NGX_ERROR;
    }

    expiry = (ngx_http_tollgate_expiry_t *) (task + 1);
    expiry->tmcf = tmcf;
    expiry->now_ms = ngx_http_tollgate_now_ms();

    task->ctx = expiry;
    task->handler = ngx_http_tollgate_expire_thread;
    task->event.handler = ngx_http_tollgate_expired;
    task->event.data = task;

    if (ngx_thread_task_post(tmcf->pool, task) != NGX_OK) {
        ngx_free(task);
        return NGX_ERROR;
    }

    tmcf->expiring = 1;

    return NGX_OK;
}

#endif


static void
ngx_http_tollgate_expire_handler(ngx_event_t *ev)
{
    ngx_http_tollgate_main_conf_t  *tmcf = ev->data;

    if (ngx_exiting) {
        return;
    }

    if (!tmcf->expiring) {

#if (NGX_THREADS)
        if (tmcf->pool) {
            (void) ngx_http_tollgate_post_expiry(tmcf);

        } else {
            ngx_http_tollgate_expire(tmcf, ngx_http_tollgate_now_ms());
        }
#else
        ngx_http_tollgate_expire(tmcf, ngx_http_tollgate_now_ms());
#endif
    }

    ngx_add_timer(ev, tmcf->expire_interval);
}


/* Any thread may call this; ngx_log_error() writes with one system call. */

static void
ngx_http_tollgate_log(void *user, tollgate_log_level_t level, const char *message, size_t len)
{
    ngx_uint_t  as;

    (void) user;

    as = level == TOLLGATE_LOG_ERROR ? NGX_LOG_ERR
         : level == TOLLGATE_LOG_WARN ? NGX_LOG_WARN : NGX_LOG_INFO;

    ngx_log_error(as, ngx_cycle->log, 0, "tollgate: %*s", len, message);
}
