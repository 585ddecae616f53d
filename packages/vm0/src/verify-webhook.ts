import { hasWebhookSignature, Vm0Error, webhookSignature, type WebhookMessage } from '@vm0/contract/client'

const toleranceMs = 300_000

/**
 * How to verify: how far the time of a message may be from the clock here, five minutes by default; and that clock.
 *
 * @example
 * const options = { toleranceMs: 60_000 }
 */
export interface VerifyOptions {
  toleranceMs?: number
  /** Milliseconds since 1970. */
  now?: number
}

/**
 * The message of a webhook, when it was signed with the secret and is not an old one that somebody sends again; otherwise
 * throws WEBHOOK_SIGNATURE_INVALID. `body` is the request's body as it came, `headers` are its headers, of node:http or fetch.
 * One message may come twice: `webhook-id` is the same then.
 *
 * @example
 * import { verifyWebhook } from 'vm0'
 * const receive = async (request) => {
 *   const message = verifyWebhook(await request.text(), request.headers, process.env.WEBHOOK_SECRET)
 *   if (message.type === 'run.died') console.log(message.data.run.id, message.data.why.cause)
 * }
 */
export function verifyWebhook(
  body: string | Uint8Array,
  headers: Headers | Record<string, string | string[] | undefined>,
  secret: string,
  { toleranceMs: tolerance = toleranceMs, now = Date.now() }: VerifyOptions = {},
): WebhookMessage {
  const [id, timestamp, signature] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) =>
    header(headers, name),
  )
  if (!/^whsec_[A-Za-z0-9+/]{32,86}={0,2}$/.test(secret))
    throw invalid('the secret is none of a webhook; expected whsec_ and 24 to 64 bytes in base64')
  if (!id || !signature || !timestamp)
    throw invalid('a header is missing; expected webhook-id, webhook-timestamp and webhook-signature')
  if (!/^\d{1,12}$/.test(timestamp)) throw invalid('webhook-timestamp is not a number of seconds since 1970')
  const expected = webhookSignature(secret, id, timestamp, body)
  if (!hasWebhookSignature(signature, expected))
    throw invalid('the signature is not that of this body, id and time with this secret')
  if (Math.abs(now - Number(timestamp) * 1000) > tolerance)
    throw invalid(`the message is of another time than now; expected at most ${tolerance / 1000} s between`)
  return JSON.parse(typeof body === 'string' ? body : new TextDecoder().decode(body)) as WebhookMessage
}

function header(headers: Headers | Record<string, string | string[] | undefined>, name: string): string | undefined {
  if (typeof (headers as Headers).get === 'function') return (headers as Headers).get(name) ?? undefined
  const value = (headers as Record<string, string | string[] | undefined>)[name]
  return Array.isArray(value) ? value[0] : value
}

function invalid(message: string): Vm0Error {
  return new Vm0Error('WEBHOOK_SIGNATURE_INVALID', message)
}
