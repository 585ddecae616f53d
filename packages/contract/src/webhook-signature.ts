import { createHmac, timingSafeEqual } from 'node:crypto'

/** The scheme of Standard Webhooks: HMAC-SHA256 over `id.timestamp.body` with the bytes behind `whsec_`, in base64. */
export function webhookSignature(
  secret: string,
  id: string,
  timestampS: number | string,
  body: string | Uint8Array,
): string {
  const mac = createHmac('sha256', secretBytes(secret)).update(`${id}.${timestampS}.`).update(body)
  return `v1,${mac.digest('base64')}`
}

/** Whether one of the signatures in the header (there are several while a secret is changed) is right; as slow for a wrong one. */
export function hasWebhookSignature(header: string, expected: string): boolean {
  const wanted = Buffer.from(expected)
  let found = false
  for (const given of header
    .split(' ')
    .slice(0, maxSignatures)
    .map((each) => Buffer.from(each)))
    if (given.length === wanted.length && timingSafeEqual(given, wanted)) found = true
  return found
}

const maxSignatures = 10

function secretBytes(secret: string): Buffer {
  return Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
}
