/* The module as nginx sees it. */

#include "ngx_http_tollgate.h"

static ngx_int_t ngx_http_tollgate_init(ngx_conf_t *cf);

static ngx_http_module_t  ngx_http_tollgate_module_ctx = {
    ngx_http_tollgate_add_variables,      /* preconfiguration */
    ngx_http_tollgate_init,               /* postconfiguration */

    ngx_http_tollgate_create_main_conf,
    ngx_http_tollgate_init_main_conf,

    NULL,                                 /* create server configuration */
    NULL,                                 /* merge server configuration */

    ngx_http_tollgate_create_loc_conf,
    ngx_http_tollgate_merge_loc_conf
};

ngx_module_t  ngx_http_tollgate_module = {
    NGX_MODULE_V1,
    &ngx_http_tollgate_module_ctx,
    ngx_http_tollgate_commands,
    NGX_HTTP_MODULE,
    NULL,                                 /* init master */
    NULL,                                 /* init module */
    ngx_http_tollgate_init_process,
    NULL,                                 /* init thread */
    NULL,                                 /* exit thread */
    ngx_http_tollgate_exit_process,
    NULL,                                 /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_tollgate_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt            *handler;
    ngx_http_core_main_conf_t      *cmcf;
    ngx_http_tollgate_main_conf_t  *tmcf;

    tmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_tollgate_module);

    if (!tmcf->used) {
        return NGX_OK;
    }

    if (tollgate_check_abi(TOLLGATE_ABI_VERSION) != TOLLGATE_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "tollgate: %s", tollgate_last_error());
        return NGX_ERROR;
    }

    if (ngx_http_tollgate_check_store(cf, tmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    handler = ngx_array_push(&cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers);
    if (handler == NULL) {
        return NGX_ERROR;
    }

    *handler = ngx_http_tollgate_access_handler;

    ngx_http_tollgate_init_filters();

    return NGX_OK;
}
