/* Policies: read, checked and made into engines while the configuration is read. */

#include "ngx_http_tollgate.h"

static tollgate_policy_t *ngx_http_tollgate_parse(ngx_conf_t *cf,
    ngx_http_tollgate_policy_t *policy);
static void ngx_http_tollgate_log_lines(ngx_conf_t *cf, ngx_uint_t level, ngx_str_t *name,
    const char *text, size_t len);


char *
ngx_http_tollgate_policy(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tollgate_loc_conf_t  *tlcf = conf;

    size_t                        i;
    ngx_str_t                    *value, name;
    tollgate_str_t                warning;
    tollgate_policy_t            *parsed;
    ngx_http_tollgate_policy_t   *policy;

    (void) cmd;

    if (tlcf->policy != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    policy = ngx_pcalloc(cf->pool, sizeof(ngx_http_tollgate_policy_t));
    if (policy == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;
    name = value[1];

    if (name.len > 7 && ngx_strncmp(name.data, "preset:", 7) == 0) {
        policy->format = TOLLGATE_POLICY_PRESET;
        policy->text.data = name.data + 7;
        policy->text.len = name.len - 7;

    } else {
        if (name.len > 5 && ngx_strcmp(name.data + name.len - 5, ".toml") == 0) {
            policy->format = TOLLGATE_POLICY_TOML;

        } else if (name.len > 5 && ngx_strcmp(name.data + name.len - 5, ".json") == 0) {
            policy->format = TOLLGATE_POLICY_JSON;

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"tollgate_policy\" is a file ending in .toml or .json, or "
                               "preset:NAME, not \"%V\"", &name);
            return NGX_CONF_ERROR;
        }

        if (ngx_conf_full_name(cf->cycle, &name, 1) != NGX_OK
            || ngx_http_tollgate_read_file(cf, &name, &policy->text) != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    policy->name = name;

    parsed = ngx_http_tollgate_parse(cf, policy);
    if (parsed == NULL) {
        return NGX_CONF_ERROR;
    }

    policy->trusts_proxies = tollgate_policy_trusts_proxies(parsed) ? 1 : 0;

    for (i = 0; i < tollgate_policy_warning_count(parsed); i++) {
        if (tollgate_policy_warning(parsed, i, &warning) == TOLLGATE_OK) {
            ngx_http_tollgate_log_lines(cf, NGX_LOG_WARN, &name, warning.data, warning.len);
        }
    }

    tollgate_policy_free(parsed);

    tlcf->policy = policy;

    return NGX_CONF_OK;
}


char *
ngx_http_tollgate_trusted_proxy(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tollgate_loc_conf_t  *tlcf = conf;

    ngx_int_t    rc;
    ngx_str_t   *value, *proxy;
    ngx_uint_t   i;
    ngx_cidr_t   cidr;

    (void) cmd;

    if (tlcf->proxies == NGX_CONF_UNSET_PTR) {
        tlcf->proxies = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
        if (tlcf->proxies == NULL) {
            return NGX_CONF_ERROR;
        }

        tlcf->file = cf->conf_file->file.name.data;
        tlcf->line = cf->conf_file->line;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        rc = ngx_ptocidr(&value[i], &cidr);

        if (rc != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               rc == NGX_DONE
                               ? "\"%V\" has bits set beyond its prefix; give the network's address"
                               : "\"%V\" is no network; give it as 192.0.2.0/24 or 2001:db8::/32",
                               &value[i]);
            return NGX_CONF_ERROR;
        }

        proxy = ngx_array_push(tlcf->proxies);
        if (proxy == NULL) {
            return NGX_CONF_ERROR;
        }

        *proxy = value[i];
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_tollgate_read_file(ngx_conf_t *cf, ngx_str_t *name, ngx_str_t *text)
{
    ngx_fd_t         fd;
    ngx_file_info_t  fi;
    ssize_t          n;
    size_t           size, got;

    fd = ngx_open_file(name->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno, ngx_open_file_n " \"%V\" failed", name);
        return NGX_ERROR;
    }

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || ngx_is_dir(&fi)
        || ngx_file_size(&fi) > 16 * 1024 * 1024)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" is no file of at most 16 MiB", name);
        goto failed;
    }

    size = (size_t) ngx_file_size(&fi);

    text->data = ngx_pnalloc(cf->pool, size + 1);
    if (text->data == NULL) {
        goto failed;
    }

    for (got = 0; got < size; got += (size_t) n) {

        n = ngx_read_fd(fd, text->data + got, size - got);

        if (n == -1) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno, ngx_read_fd_n " \"%V\" failed",
                               name);
            goto failed;
        }

        if (n == 0) {
            break;
        }
    }

    text->len = got;
    (void) ngx_close_file(fd);

    return NGX_OK;

failed:

    (void) ngx_close_file(fd);

    return NGX_ERROR;
}


/* The engine of a policy with these proxies; the same is made once. */

ngx_http_tollgate_engine_t *
ngx_http_tollgate_get_engine(ngx_conf_t *cf, ngx_http_tollgate_policy_t *policy,
    ngx_array_t *proxies)
{
    u_char                          *p, *patch;
    size_t                           len;
    ngx_str_t                       *proxy;
    ngx_uint_t                       i;
    tollgate_result_t                result;
    tollgate_policy_t               *parsed;
    ngx_http_tollgate_engine_t     **known, *engine;
    ngx_http_tollgate_main_conf_t   *tmcf;

    tmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_tollgate_module);
    known = tmcf->engines.elts;

    for (i = 0; i < tmcf->engines.nelts; i++) {
        if (known[i]->policy == policy && known[i]->proxies == proxies) {
            return known[i];
        }
    }

    engine = ngx_pcalloc(cf->pool, sizeof(ngx_http_tollgate_engine_t));
    known = ngx_array_push(&tmcf->engines);

    if (engine == NULL || known == NULL) {
        return NULL;
    }

    *known = engine;
    engine->policy = policy;
    engine->proxies = proxies;

    parsed = ngx_http_tollgate_parse(cf, policy);
    if (parsed == NULL) {
        return NULL;
    }

    result = TOLLGATE_OK;

    if (proxies) {

        /* Networks hold no character that JSON would escape: ngx_ptocidr() took them. */

        len = sizeof("{\"source\":{\"trusted_proxies\":[]}}");
        proxy = proxies->elts;

        for (i = 0; i < proxies->nelts; i++) {
            len += proxy[i].len + 3;
        }

        patch = ngx_pnalloc(cf->pool, len);
        if (patch == NULL) {
            tollgate_policy_free(parsed);
            return NULL;
        }

        p = ngx_sprintf(patch, "{\"source\":{\"trusted_proxies\":[");

        for (i = 0; i < proxies->nelts; i++) {
            p = ngx_sprintf(p, i ? ",\"%V\"" : "\"%V\"", &proxy[i]);
        }

        p = ngx_sprintf(p, "]}}");

        result = tollgate_policy_patch(parsed, (char *) patch, (size_t) (p - patch));
    }

    if (result == TOLLGATE_OK) {
        result = tollgate_engine_new(parsed, tmcf->pepper.data, tmcf->pepper.len,
                                     &engine->engine);
    }

    tollgate_policy_free(parsed);

    if (result != TOLLGATE_OK) {
        ngx_http_tollgate_log_lines(cf, NGX_LOG_EMERG, &policy->name, tollgate_last_error(),
                                    ngx_strlen(tollgate_last_error()));
        return NULL;
    }

    return engine;
}


static tollgate_policy_t *
ngx_http_tollgate_parse(ngx_conf_t *cf, ngx_http_tollgate_policy_t *policy)
{
    tollgate_policy_t  *parsed;

    if (tollgate_policy_new((char *) policy->text.data, policy->text.len, policy->format,
                            &parsed)
        == TOLLGATE_OK)
    {
        return parsed;
    }

    ngx_http_tollgate_log_lines(cf, NGX_LOG_EMERG, &policy->name, tollgate_last_error(),
                                ngx_strlen(tollgate_last_error()));

    return NULL;
}


/* One message of nginx's for each line of the library's. */

static void
ngx_http_tollgate_log_lines(ngx_conf_t *cf, ngx_uint_t level, ngx_str_t *name, const char *text,
    size_t len)
{
    const char  *end, *next;

    for (end = text + len; text < end; text = next + 1) {

        next = memchr(text, '\n', (size_t) (end - text));
        if (next == NULL) {
            next = end;
        }

        if (next > text) {
            ngx_conf_log_error(level, cf, 0, "tollgate policy \"%V\": %*s", name,
                               (size_t) (next - text), text);
        }
    }
}
