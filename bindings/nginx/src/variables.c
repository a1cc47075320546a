/* $tollgate_…: what was decided, for logs and for the upstream. Without a value: "-" in logs. */

#include "ngx_http_tollgate.h"

typedef enum {
    NGX_HTTP_TOLLGATE_VAR_VERDICT = 0,
    NGX_HTTP_TOLLGATE_VAR_CODE,
    NGX_HTTP_TOLLGATE_VAR_STATUS,
    NGX_HTTP_TOLLGATE_VAR_ACCOUNT,
    NGX_HTTP_TOLLGATE_VAR_ROUTE,
    NGX_HTTP_TOLLGATE_VAR_RESERVED,
    NGX_HTTP_TOLLGATE_VAR_RESERVATION,
    NGX_HTTP_TOLLGATE_VAR_SETTLED,
    NGX_HTTP_TOLLGATE_VAR_SHADOW
} ngx_http_tollgate_var_e;

static ngx_int_t ngx_http_tollgate_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);

#define NGX_HTTP_TOLLGATE_VAR(name, which)                                                    \
    { ngx_string("tollgate_" name), NULL, ngx_http_tollgate_variable, which,                  \
      NGX_HTTP_VAR_NOCACHEABLE, 0 }

static ngx_http_variable_t  ngx_http_tollgate_variables[] = {
    NGX_HTTP_TOLLGATE_VAR("verdict", NGX_HTTP_TOLLGATE_VAR_VERDICT),
    NGX_HTTP_TOLLGATE_VAR("code", NGX_HTTP_TOLLGATE_VAR_CODE),
    NGX_HTTP_TOLLGATE_VAR("status", NGX_HTTP_TOLLGATE_VAR_STATUS),
    NGX_HTTP_TOLLGATE_VAR("account", NGX_HTTP_TOLLGATE_VAR_ACCOUNT),
    NGX_HTTP_TOLLGATE_VAR("route", NGX_HTTP_TOLLGATE_VAR_ROUTE),
    NGX_HTTP_TOLLGATE_VAR("reserved", NGX_HTTP_TOLLGATE_VAR_RESERVED),
    NGX_HTTP_TOLLGATE_VAR("reservation", NGX_HTTP_TOLLGATE_VAR_RESERVATION),
    NGX_HTTP_TOLLGATE_VAR("settled", NGX_HTTP_TOLLGATE_VAR_SETTLED),
    NGX_HTTP_TOLLGATE_VAR("shadow", NGX_HTTP_TOLLGATE_VAR_SHADOW),
    { ngx_null_string, NULL, NULL, 0, 0, 0 }
};


ngx_int_t
ngx_http_tollgate_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_tollgate_variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tollgate_number(ngx_http_request_t *r, ngx_str_t *text, uint64_t number)
{
    text->data = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    text->len = (size_t) (ngx_sprintf(text->data, "%uL", number) - text->data);

    return NGX_OK;
}


static ngx_int_t
ngx_http_tollgate_account(ngx_http_request_t *r, tollgate_decision_t *decision, ngx_str_t *text)
{
    size_t             len;
    tollgate_result_t  result;

    len = 128;

    for ( ;; ) {

        text->data = ngx_pnalloc(r->pool, len);
        if (text->data == NULL) {
            return NGX_ERROR;
        }

        result = tollgate_decision_account(decision, (char *) text->data, len, &len);

        if (result != TOLLGATE_BUFFER_TOO_SMALL) {
            text->len = result == TOLLGATE_OK ? len : 0;
            return NGX_OK;
        }
    }
}


static ngx_int_t
ngx_http_tollgate_shadow(ngx_http_request_t *r, tollgate_decision_t *decision, ngx_str_t *text)
{
    u_char    *p;
    uint32_t   shadows;

    shadows = tollgate_decision_shadows(decision);

    if (shadows == 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, sizeof("limits,spend_caps,networks"));
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;

    if (shadows & TOLLGATE_SHADOW_LIMITS) {
        p = ngx_sprintf(p, "limits,");
    }

    if (shadows & TOLLGATE_SHADOW_SPEND_CAPS) {
        p = ngx_sprintf(p, "spend_caps,");
    }

    if (shadows & TOLLGATE_SHADOW_NETWORKS) {
        p = ngx_sprintf(p, "networks,");
    }

    text->len = p > text->data ? (size_t) (p - text->data - 1) : 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tollgate_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    uint64_t                  amount;
    ngx_int_t                 rc;
    ngx_str_t                 text;
    tollgate_str_t            route;
    tollgate_decision_t      *decision;
    ngx_http_tollgate_ctx_t  *ctx;

    static ngx_str_t  verdicts[] = {
        ngx_null_string, ngx_string("allow"), ngx_string("deny"), ngx_string("replay")
    };

    v->not_found = 1;

    ctx = ngx_http_tollgate_get_ctx(r);

    if (ctx == NULL || ctx->decision == NULL) {
        return NGX_OK;
    }

    decision = ctx->decision;
    rc = NGX_OK;
    ngx_str_null(&text);

    switch ((ngx_http_tollgate_var_e) data) {

    case NGX_HTTP_TOLLGATE_VAR_VERDICT:
        text = verdicts[tollgate_decision_verdict(decision) & 3];
        break;

    case NGX_HTTP_TOLLGATE_VAR_CODE:
        text.data = (u_char *) tollgate_decision_code(decision);
        text.len = ngx_strlen(text.data);
        break;

    case NGX_HTTP_TOLLGATE_VAR_STATUS:
        rc = ngx_http_tollgate_number(r, &text, tollgate_decision_status(decision));
        break;

    case NGX_HTTP_TOLLGATE_VAR_ACCOUNT:
        rc = ngx_http_tollgate_account(r, decision, &text);
        break;

    case NGX_HTTP_TOLLGATE_VAR_ROUTE:
        if (tollgate_decision_route(decision, &route) == TOLLGATE_OK) {
            text.data = (u_char *) route.data;
            text.len = route.len;
        }
        break;

    case NGX_HTTP_TOLLGATE_VAR_RESERVED:
        if (tollgate_decision_reserved(decision, &amount)) {
            rc = ngx_http_tollgate_number(r, &text, amount);
        }
        break;

    case NGX_HTTP_TOLLGATE_VAR_RESERVATION:
        if (tollgate_decision_reservation(decision, &amount)) {
            rc = ngx_http_tollgate_number(r, &text, amount);
        }
        break;

    case NGX_HTTP_TOLLGATE_VAR_SETTLED:
        if (ctx->has_posted) {
            rc = ngx_http_tollgate_number(r, &text, ctx->posted);
        }
        break;

    case NGX_HTTP_TOLLGATE_VAR_SHADOW:
        rc = ngx_http_tollgate_shadow(r, decision, &text);
        break;
    }

    if (rc != NGX_OK || text.len == 0) {
        return rc;
    }

    v->valid = 1;
    v->not_found = 0;
    v->no_cacheable = 0;
    v->data = text.data;
    v->len = (unsigned) (text.len & 0x0fffffff);

    return NGX_OK;
}
