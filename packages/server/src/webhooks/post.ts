import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { isIPv6 } from 'node:net'
import { mayReach, type WebhookTargets } from './addresses.js'
import { addressesOf } from './resolve.js'

/** From the look-up of the name to the head of the answer. */
const attemptMs = 10_000
/** Read of an answer, whose content is of no interest, so that its sender finds no broken connection. */
const maxReadBytes = 16 * 1024
const maxReadMs = 1_000

export interface Post {
  url: string
  headers: Record<string, string>
  body: string
  targets: WebhookTargets
  signal: AbortSignal
}

/** What came of an attempt: a status, or why there is none. */
export type Answer = { status: number; error: null } | { status: null; error: string }

/**
 * One request, to an address that was checked after its name was looked up, and not to another one that an answer leads to.
 * Never throws.
 */
export async function post({ url, headers, body, targets, signal }: Post): Promise<Answer> {
  const late = AbortSignal.timeout(attemptMs)
  const ending = AbortSignal.any([signal, late])
  try {
    const { hostname, protocol } = new URL(url)
    const addresses = await addressesOf(hostname, ending)
    const allowed = addresses.filter((address) => mayReach(address, targets))
    ending.throwIfAborted()
    if (addresses.length === 0) return { status: null, error: `${hostname} has no address` }
    if (allowed.length === 0)
      return { status: null, error: `${hostname} leads to ${addresses[0]}, where no webhook may go` }
    return { status: await statusOf(url, protocol, allowed, { headers, body, ending }), error: null }
  } catch (error) {
    if (signal.aborted) return { status: null, error: 'the platform was stopped' }
    if (late.aborted) return { status: null, error: `no answer within ${attemptMs / 1000} s` }
    return { status: null, error: (error as Error).message.slice(0, 200) || 'the connection failed' }
  }
}

function statusOf(
  url: string,
  protocol: string,
  allowed: readonly string[],
  { headers, body, ending }: { headers: Record<string, string>; body: string; ending: AbortSignal },
): Promise<number> {
  const send = protocol === 'https:' ? httpsRequest : httpRequest
  return new Promise((resolve, reject) => {
    const request = send(url, {
      method: 'POST',
      headers: { ...headers, 'content-length': String(Buffer.byteLength(body)), connection: 'close' },
      agent: false,
      signal: ending,
      // A name that is looked up twice may lead elsewhere the second time: the connection is made to what was checked.
      lookup: (_host, options, answer) => {
        const all = allowed.map((address) => ({ address, family: isIPv6(address) ? 6 : 4 }))
        if (options.all) answer(null, all)
        else answer(null, all[0]?.address ?? '', all[0]?.family)
      },
    })
    request.on('error', reject)
    request.on('response', (response) => {
      resolve(response.statusCode ?? 0)
      let bytes = 0
      const end = setTimeout(() => response.destroy(), maxReadMs)
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > maxReadBytes) response.destroy()
      })
      response.on('error', () => undefined)
      response.on('close', () => clearTimeout(end))
    })
    request.end(body)
  })
}
