/* Directives about where state lives, and whether they fit together. */

#include "ngx_http_tollgate.h"

static ngx_int_t ngx_http_tollgate_init_zone(ngx_shm_zone_t *zone, void *data);
static char *ngx_http_tollgate_lmdb_options(ngx_conf_t *cf,
    ngx_http_tollgate_main_conf_t *tmcf);
static char *ngx_http_tollgate_add_directory(ngx_conf_t *cf, ngx_str_t *name);


char *
ngx_http_tollgate_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tollgate_main_conf_t  *tmcf = conf;

    u_char     *p;
    ssize_t     size;
    ngx_str_t  *value, name, text;

    (void) cmd;

    if (tmcf->zone) {
        return "is duplicate";
    }

    value = cf->args->elts;

    p = (u_char *) ngx_strchr(value[1].data, ':');
    if (p == NULL || p == value[1].data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"tollgate_zone\" is name:size, for example tollgate:16m");
        return NGX_CONF_ERROR;
    }

    name.data = value[1].data;
    name.len = (size_t) (p - name.data);
    text.data = p + 1;
    text.len = value[1].len - name.len - 1;

    size = ngx_parse_size(&text);

    if (size == NGX_ERROR || size < (ssize_t) (64 * ngx_pagesize)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the zone's size \"%V\" is no size of at least %uzk", &text,
                           64 * ngx_pagesize / 1024);
        return NGX_CONF_ERROR;
    }

    tmcf->zone = ngx_shared_memory_add(cf, &name, (size_t) size, &ngx_http_tollgate_module);
    if (tmcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    tmcf->zone->init = ngx_http_tollgate_init_zone;

    return NGX_CONF_OK;
}


/*
 * The region is one piece of the zone, made once. A reload finds it at the same address, with what
 * it has counted.
 */

static ngx_int_t
ngx_http_tollgate_init_zone(ngx_shm_zone_t *zone, void *data)
{
    size_t            len, cells, windows, size;
    ngx_str_t        *region;
    ngx_slab_pool_t  *pool;

    pool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data) {
        zone->data = data;
        return NGX_OK;
    }

    if (zone->shm.exists) {
        zone->data = pool->data;
        return NGX_OK;
    }

    region = ngx_slab_alloc(pool, sizeof(ngx_str_t));
    if (region == NULL) {
        return NGX_ERROR;
    }

    /* A page is kept back for what nginx itself may want of the slab. */

    len = (pool->pfree - 1) * ngx_pagesize;

    if (tollgate_region_fit(len, &cells, &windows, &size) != TOLLGATE_OK) {
        ngx_log_error(NGX_LOG_EMERG, ngx_cycle->log, 0, "tollgate_zone \"%V\": %s",
                      &zone->shm.name, tollgate_last_error());
        return NGX_ERROR;
    }

    region->len = size;
    region->data = ngx_slab_calloc(pool, size);

    if (region->data == NULL) {
        ngx_log_error(NGX_LOG_EMERG, ngx_cycle->log, 0,
                      "tollgate_zone \"%V\" is too small for its region", &zone->shm.name);
        return NGX_ERROR;
    }

    if (tollgate_region_create(region->data, size, cells, windows, NULL) != TOLLGATE_OK) {
        ngx_log_error(NGX_LOG_EMERG, ngx_cycle->log, 0, "tollgate_zone \"%V\": %s",
                      &zone->shm.name, tollgate_last_error());
        return NGX_ERROR;
    }

    zone->data = region;
    pool->data = region;

    return NGX_OK;
}


char *
ngx_http_tollgate_store(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tollgate_main_conf_t  *tmcf = conf;

    ngx_str_t  *value;

    (void) cmd;

    if (tmcf->backend != NGX_HTTP_TOLLGATE_NO_STORE) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len > 5 && ngx_strncmp(value[1].data, "lmdb:", 5) == 0) {
        tmcf->backend = NGX_HTTP_TOLLGATE_LMDB;
        tmcf->place.data = value[1].data + 5;
        tmcf->place.len = value[1].len - 5;

        return ngx_http_tollgate_lmdb_options(cf, tmcf);
    }

    if (cf->args->nelts > 2) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "only lmdb: takes \"%V\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    if (ngx_strcmp(value[1].data, "memory") == 0) {
        tmcf->backend = NGX_HTTP_TOLLGATE_MEMORY;
        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value[1].data, "redis", 5) == 0 && ngx_strstr(value[1].data, "://")) {
        tmcf->backend = NGX_HTTP_TOLLGATE_REDIS;
        tmcf->place = value[1];
        return NGX_CONF_OK;
    }

    /* Not the value itself: it may be a URL with a password. */

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"tollgate_store\" is lmdb:DIRECTORY, redis://HOST:PORT or memory");

    return NGX_CONF_ERROR;
}


static char *
ngx_http_tollgate_lmdb_options(ngx_conf_t *cf, ngx_http_tollgate_main_conf_t *tmcf)
{
    ngx_int_t    interval;
    ngx_str_t   *value, text;
    ngx_uint_t   i;

    value = cf->args->elts;
    tmcf->sync = TOLLGATE_SYNC_EVERY_COMMIT;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "sync=every_commit") == 0) {
            tmcf->sync = TOLLGATE_SYNC_EVERY_COMMIT;
            continue;
        }

        if (ngx_strcmp(value[i].data, "sync=never") == 0) {
            tmcf->sync = TOLLGATE_SYNC_NEVER;
            continue;
        }

        if (value[i].len > 14 && ngx_strncmp(value[i].data, "sync=interval:", 14) == 0) {
            text.data = value[i].data + 14;
            text.len = value[i].len - 14;
            interval = ngx_parse_time(&text, 0);

            if (interval == NGX_ERROR || interval == 0) {
                goto invalid;
            }

            tmcf->sync = TOLLGATE_SYNC_INTERVAL;
            tmcf->sync_interval = (ngx_msec_t) interval;
            continue;
        }

        if (value[i].len > 4 && ngx_strncmp(value[i].data, "map=", 4) == 0) {
            text.data = value[i].data + 4;
            text.len = value[i].len - 4;
            tmcf->map_size = ngx_parse_offset(&text);

            if (tmcf->map_size < 1024 * 1024) {
                goto invalid;
            }

            continue;
        }

        goto invalid;
    }

    return ngx_http_tollgate_add_directory(cf, &tmcf->place);

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%V\" is none of sync=every_commit, sync=interval:TIME (200ms, say), "
                       "sync=never, map=SIZE (1m or more)", &value[i]);

    return NGX_CONF_ERROR;
}


/* The directory is made and given to the workers' user as nginx does for its temporary files. */

static char *
ngx_http_tollgate_add_directory(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_path_t  *path;

    if (ngx_conf_full_name(cf->cycle, name, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    path = ngx_pcalloc(cf->pool, sizeof(ngx_path_t));
    if (path == NULL) {
        return NGX_CONF_ERROR;
    }

    path->name = *name;
    path->conf_file = cf->conf_file->file.name.data;
    path->line = cf->conf_file->line;

    return ngx_add_path(cf, &path) == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}


char *
ngx_http_tollgate_threads(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tollgate_main_conf_t  *tmcf = conf;

    ngx_str_t  *value;

    (void) cmd;

    if (tmcf->no_threads != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;
    tmcf->no_threads = 0;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        tmcf->no_threads = 1;
        return NGX_CONF_OK;
    }

#if (NGX_THREADS)

    tmcf->pool_name = value[1];
    tmcf->pool = ngx_thread_pool_add(cf, &tmcf->pool_name);

    return tmcf->pool ? NGX_CONF_OK : NGX_CONF_ERROR;

#else

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "this nginx was built without threads");

    return NGX_CONF_ERROR;

#endif
}


/* Who waits where. A worker itself never waits for a network, and for a disk only when told to. */

ngx_int_t
ngx_http_tollgate_check_store(ngx_conf_t *cf, ngx_http_tollgate_main_conf_t *tmcf)
{
    ngx_uint_t        waits;
    ngx_core_conf_t  *ccf;

    if (tmcf->backend == NGX_HTTP_TOLLGATE_NO_STORE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"tollgate on\" needs a \"tollgate_store\" in the http block");
        return NGX_ERROR;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(cf->cycle->conf_ctx, ngx_core_module);

    if (tmcf->backend == NGX_HTTP_TOLLGATE_MEMORY
        && ccf->worker_processes != NGX_CONF_UNSET && ccf->worker_processes > 1)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"tollgate_store memory\" is of one process, and there are %i workers "
                           "that would each have accounts and limits of their own; use lmdb: or "
                           "\"worker_processes 1\"", ccf->worker_processes);
        return NGX_ERROR;
    }

    waits = tmcf->backend == NGX_HTTP_TOLLGATE_REDIS
            || (tmcf->backend == NGX_HTTP_TOLLGATE_LMDB
                && tmcf->sync == TOLLGATE_SYNC_EVERY_COMMIT);

    if (tmcf->no_threads == 1) {

        if (tmcf->backend == NGX_HTTP_TOLLGATE_REDIS) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "a Redis store needs threads: a worker that waits for the network "
                               "serves nobody; remove \"tollgate_threads off\"");
            return NGX_ERROR;
        }

        return NGX_OK;
    }

#if (NGX_THREADS)

    /* Chosen by name: everything that writes goes there. Else only what waits does. */

    tmcf->pooled = waits || tmcf->pool != NULL;
    tmcf->pooled_reads = tmcf->backend == NGX_HTTP_TOLLGATE_REDIS
                         || (tmcf->pooled && tmcf->zone == NULL);

    if (tmcf->pool == NULL && tmcf->backend != NGX_HTTP_TOLLGATE_MEMORY) {
        tmcf->pool = ngx_thread_pool_add(cf, NULL);
        if (tmcf->pool == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;

#else

    if (waits) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "this nginx was built without threads: it can use neither Redis nor "
                           "lmdb: with sync=every_commit; use sync=interval:TIME, or say "
                           "\"tollgate_threads off\" to let workers wait for the disk");
        return NGX_ERROR;
    }

    return NGX_OK;

#endif
}
