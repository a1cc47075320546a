/* Work in a thread pool that a stopping worker waits for. */

#include "ngx_http_tollgate.h"

#if (NGX_THREADS)

/* A worker that stops gracefully is at its end when no timer is left: without one it would leave. */
#define NGX_HTTP_TOLLGATE_TASK_TIMER  60000


ngx_int_t
ngx_http_tollgate_post_task(ngx_http_tollgate_main_conf_t *tmcf, ngx_thread_task_t *task)
{
    if (ngx_thread_task_post(tmcf->pool, task) != NGX_OK) {
        return NGX_ERROR;
    }

    task->event.log = ngx_cycle->log;
    ngx_add_timer(&task->event, NGX_HTTP_TOLLGATE_TASK_TIMER);

    return NGX_OK;
}


/* Whether a task's event is only its timer's: then it goes on waiting. */

ngx_uint_t
ngx_http_tollgate_task_runs(ngx_event_t *ev)
{
    if (ev->timedout) {
        ev->timedout = 0;

        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "tollgate: a store has not answered for a minute");

        ngx_add_timer(ev, NGX_HTTP_TOLLGATE_TASK_TIMER);

        return 1;
    }

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    return 0;
}

#endif
