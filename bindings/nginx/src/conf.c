/* Directives and their inheritance. */

#include "ngx_http_tollgate.h"

static char *ngx_http_tollgate_enable(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_tollgate_replay_headers(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_tollgate_pepper_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static void ngx_http_tollgate_free_engines(void *data);

static ngx_conf_enum_t  ngx_http_tollgate_fails[] = {
    { ngx_string("closed"), NGX_HTTP_TOLLGATE_FAIL_CLOSED },
    { ngx_string("open"), NGX_HTTP_TOLLGATE_FAIL_OPEN },
    { ngx_null_string, 0 }
};

#define NGX_HTTP_TOLLGATE_ANYWHERE  (NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF)
#define NGX_HTTP_TOLLGATE_LOC(name) NGX_HTTP_LOC_CONF_OFFSET,                                  \
                                    offsetof(ngx_http_tollgate_loc_conf_t, name)

ngx_command_t  ngx_http_tollgate_commands[] = {

    { ngx_string("tollgate"),
      NGX_HTTP_TOLLGATE_ANYWHERE|NGX_CONF_FLAG,
      ngx_http_tollgate_enable, NGX_HTTP_TOLLGATE_LOC(enable), NULL },

    { ngx_string("tollgate_policy"),
      NGX_HTTP_TOLLGATE_ANYWHERE|NGX_CONF_TAKE1,
      ngx_http_tollgate_policy, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },

    { ngx_string("tollgate_trusted_proxy"),
      NGX_HTTP_TOLLGATE_ANYWHERE|NGX_CONF_1MORE,
      ngx_http_tollgate_trusted_proxy, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },

    { ngx_string("tollgate_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_tollgate_zone, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },

    { ngx_string("tollgate_store"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_tollgate_store, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },

    { ngx_string("tollgate_threads"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_tollgate_threads, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },

    { ngx_string("tollgate_pepper_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_tollgate_pepper_file, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },

    { ngx_string("tollgate_expire_interval"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot, NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_tollgate_main_conf_t, expire_interval), NULL },

    { ngx_string("tollgate_fail"),
      NGX_HTTP_TOLLGATE_ANYWHERE|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot, NGX_HTTP_TOLLGATE_LOC(fail), ngx_http_tollgate_fails },

    { ngx_string("tollgate_intercept"),
      NGX_HTTP_TOLLGATE_ANYWHERE|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot, NGX_HTTP_TOLLGATE_LOC(intercept), NULL },

    { ngx_string("tollgate_cost"),
      NGX_HTTP_TOLLGATE_ANYWHERE|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot, NGX_HTTP_TOLLGATE_LOC(cost), NULL },

    { ngx_string("tollgate_sender"),
      NGX_HTTP_TOLLGATE_ANYWHERE|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot, NGX_HTTP_TOLLGATE_LOC(sender), NULL },

    { ngx_string("tollgate_invalid"),
      NGX_HTTP_TOLLGATE_ANYWHERE|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot, NGX_HTTP_TOLLGATE_LOC(invalid), NULL },

    { ngx_string("tollgate_charge"),
      NGX_HTTP_TOLLGATE_ANYWHERE|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot, NGX_HTTP_TOLLGATE_LOC(charge), NULL },

    { ngx_string("tollgate_replay_headers"),
      NGX_HTTP_TOLLGATE_ANYWHERE|NGX_CONF_1MORE,
      ngx_http_tollgate_replay_headers, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },

    { ngx_string("tollgate_max_response_body"),
      NGX_HTTP_TOLLGATE_ANYWHERE|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot, NGX_HTTP_TOLLGATE_LOC(max_response_body), NULL },

      ngx_null_command
};

/* Headers of one connection, one moment or one client: they are never kept. */
static const char  *ngx_http_tollgate_never_kept[] = {
    "set-cookie", "connection", "keep-alive", "proxy-authenticate", "te", "trailer",
    "transfer-encoding", "upgrade", "date", "content-length", NULL
};

static ngx_str_t  ngx_http_tollgate_default_replay_headers[] = {
    ngx_string("content-type"), ngx_string("content-language"), ngx_string("content-encoding"),
    ngx_string("content-disposition"), ngx_string("content-location"), ngx_string("location"),
    ngx_string("cache-control"), ngx_string("etag"), ngx_string("last-modified"),
    ngx_string("link"), ngx_string("vary")
};

static ngx_array_t  ngx_http_tollgate_default_replay = {
    ngx_http_tollgate_default_replay_headers,
    sizeof(ngx_http_tollgate_default_replay_headers) / sizeof(ngx_str_t),
    sizeof(ngx_str_t), 0, NULL
};


void *
ngx_http_tollgate_create_main_conf(ngx_conf_t *cf)
{
    ngx_pool_cleanup_t             *cln;
    ngx_http_tollgate_main_conf_t  *tmcf;

    tmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_tollgate_main_conf_t));
    if (tmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&tmcf->engines, cf->pool, 4, sizeof(ngx_http_tollgate_engine_t *))
        != NGX_OK)
    {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_tollgate_free_engines;
    cln->data = tmcf;

    tmcf->expire_interval = NGX_CONF_UNSET_MSEC;
    tmcf->no_threads = NGX_CONF_UNSET;
    ngx_queue_init(&tmcf->tickets);

    return tmcf;
}


char *
ngx_http_tollgate_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_tollgate_main_conf_t  *tmcf = conf;

    (void) cf;
    ngx_conf_init_msec_value(tmcf->expire_interval, 10000);

    return NGX_CONF_OK;
}


void *
ngx_http_tollgate_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_tollgate_loc_conf_t  *tlcf;

    tlcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_tollgate_loc_conf_t));
    if (tlcf == NULL) {
        return NULL;
    }

    tlcf->enable = NGX_CONF_UNSET;
    tlcf->policy = NGX_CONF_UNSET_PTR;
    tlcf->proxies = NGX_CONF_UNSET_PTR;
    tlcf->replay_headers = NGX_CONF_UNSET_PTR;
    tlcf->max_response_body = NGX_CONF_UNSET_SIZE;
    tlcf->fail = NGX_CONF_UNSET_UINT;
    tlcf->intercept = NGX_CONF_UNSET;

    return tlcf;
}


static void
ngx_http_tollgate_merge_value(ngx_http_complex_value_t **value, ngx_http_complex_value_t *prev)
{
    if (*value == NULL) {
        *value = prev;
    }
}


char *
ngx_http_tollgate_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_tollgate_loc_conf_t   *prev = parent;
    ngx_http_tollgate_loc_conf_t   *conf = child;
    ngx_http_tollgate_main_conf_t  *tmcf;

    tmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_tollgate_module);

    if (conf->proxies == NGX_CONF_UNSET_PTR) {
        conf->file = prev->file;
        conf->line = prev->line;
    }

    ngx_conf_merge_value(conf->enable, prev->enable, 0);
    ngx_conf_merge_ptr_value(conf->policy, prev->policy, NULL);
    ngx_conf_merge_ptr_value(conf->proxies, prev->proxies, NULL);
    ngx_conf_merge_ptr_value(conf->replay_headers, prev->replay_headers,
                             &ngx_http_tollgate_default_replay);
    ngx_conf_merge_size_value(conf->max_response_body, prev->max_response_body, 1024 * 1024);
    ngx_conf_merge_uint_value(conf->fail, prev->fail, NGX_HTTP_TOLLGATE_FAIL_CLOSED);
    ngx_conf_merge_value(conf->intercept, prev->intercept, 0);
    ngx_http_tollgate_merge_value(&conf->cost, prev->cost);
    ngx_http_tollgate_merge_value(&conf->sender, prev->sender);
    ngx_http_tollgate_merge_value(&conf->invalid, prev->invalid);
    ngx_http_tollgate_merge_value(&conf->charge, prev->charge);

    if (conf->proxies && conf->policy && conf->policy->trusts_proxies) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "the policy \"%V\" names its trusted proxies; remove "
                      "\"tollgate_trusted_proxy\" or the policy's source.trusted_proxies in %s:%ui",
                      &conf->policy->name, conf->file, conf->line);
        return NGX_CONF_ERROR;
    }

    if (!conf->enable) {
        return NGX_CONF_OK;
    }

    tmcf->used = 1;

    if (conf->policy == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"tollgate on\" needs a \"tollgate_policy\" here or further out");
        return NGX_CONF_ERROR;
    }

    conf->engine = ngx_http_tollgate_get_engine(cf, conf->policy, conf->proxies);

    return conf->engine ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static char *
ngx_http_tollgate_enable(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_conf_set_flag_slot(cf, cmd, conf);
}


static char *
ngx_http_tollgate_replay_headers(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tollgate_loc_conf_t  *tlcf = conf;

    const char  **never;
    ngx_str_t    *value, *name;
    ngx_uint_t    i;

    (void) cmd;

    if (tlcf->replay_headers != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    tlcf->replay_headers = ngx_array_create(cf->pool, 8, sizeof(ngx_str_t));
    if (tlcf->replay_headers == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        name = ngx_array_push(tlcf->replay_headers);
        if (name == NULL) {
            return NGX_CONF_ERROR;
        }

        *name = value[i];
        ngx_strlow(name->data, name->data, name->len);

        for (never = ngx_http_tollgate_never_kept; *never; never++) {
            if (ngx_strcmp(name->data, *never) == 0) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "the header \"%V\" is of one connection, moment or client: it "
                                   "is never replayed", name);
                return NGX_CONF_ERROR;
            }
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_tollgate_pepper_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tollgate_main_conf_t  *tmcf = conf;

    ngx_str_t  *value, name;

    (void) cmd;

    if (tmcf->pepper.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    name = value[1];

    if (ngx_conf_full_name(cf->cycle, &name, 1) != NGX_OK
        || ngx_http_tollgate_read_file(cf, &name, &tmcf->pepper) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (tmcf->pepper.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "the pepper file \"%V\" is empty", &name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static void
ngx_http_tollgate_free_engines(void *data)
{
    ngx_http_tollgate_main_conf_t  *tmcf = data;

    ngx_uint_t                    i;
    ngx_http_tollgate_engine_t  **engine = tmcf->engines.elts;

    for (i = 0; i < tmcf->engines.nelts; i++) {
        tollgate_engine_free(engine[i]->engine);
    }

    if (tmcf->pepper.data) {
        ngx_explicit_memzero(tmcf->pepper.data, tmcf->pepper.len);
    }
}
