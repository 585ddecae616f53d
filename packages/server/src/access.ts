import { Vm0Error, wallClockMs, type Scope } from '@vm0/contract'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { tokenPrefix, type Keys } from './keys.js'
import type { RequestRate } from './limits.js'
import { requireScope, scopeOf, type Principal } from './principal.js'

declare module 'fastify' {
  interface FastifyRequest {
    principal: Principal
    /** Of the principal: every row that a handler touches carries it. */
    projectId: string
    /** When the request came, and when its key had been looked at, in milliseconds since 1970. */
    arrival: { receivedMs: number; authorisedMs: number }
    /** Whether the key or token that the request came with is valid still. */
    stillValid(): Promise<boolean>
  }
  interface FastifyContextConfig {
    /** The scope that the call needs; by default `read` for GET and `write` for the rest. */
    scope?: Scope
    /** A token may make the call; the handler checks that it covers what is asked for. */
    tokens?: boolean
  }
}

/** Every call of the API passes here: a valid key, within its rate, with the scope that the route needs. */
export function accessHook(keys: Keys, rate: RequestRate, isStopping: () => boolean) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const { config } = request.routeOptions
    const receivedMs = wallClockMs()
    if (isStopping() && scopeOf(request.method) === 'write') throw stopping()
    const key = credential(request)
    // A page of any origin may use its token: no cookie speaks for the user here.
    if (key?.startsWith(tokenPrefix)) reply.header('access-control-allow-origin', '*')
    const principal = key === undefined ? undefined : await keys.authenticate(key)
    if (!key || !principal)
      throw new Vm0Error(
        'UNAUTHENTICATED',
        key
          ? 'the API key is not valid, or not any more'
          : 'the request carries no API key; expected "Authorization: Bearer vm0_…"',
      )
    const waitMs = rate.take(principal.accountId)
    if (waitMs > 0)
      throw new Vm0Error('RATE_LIMITED', 'the key sends more requests than it may', {
        details: { retryAfterMs: waitMs },
      })
    if (principal.token && !config.tokens)
      throw new Vm0Error('FORBIDDEN', 'a token reads runs, sessions and events; this call needs a key')
    requireScope(principal, config.scope ?? scopeOf(request.method))
    request.principal = principal
    request.projectId = principal.projectId
    request.arrival = { receivedMs, authorisedMs: wallClockMs() }
    request.stillValid = async () => (await keys.authenticate(key)) !== undefined
  }
}

export function stopping(): Vm0Error {
  return new Vm0Error('NOT_READY', 'the server is stopping', { details: { retryAfterMs: 1_000 } })
}

/** The key of the header; a browser's EventSource can send none, so a token may stand in the address, where it is in no log of ours. */
function credential({ headers, query, routeOptions }: FastifyRequest): string | undefined {
  const given = /^Bearer (\S{1,200})$/i.exec(headers.authorization ?? '')?.[1]
  if (given) return given
  const { token } = query as { token?: unknown }
  const usable = routeOptions.config.tokens && typeof token === 'string' && token.startsWith(tokenPrefix)
  return usable ? token.slice(0, 200) : undefined
}
