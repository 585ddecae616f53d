import { createHmac, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { verifyWebhook } from './index.js'

// The example of the specification of Standard Webhooks.
const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
const body = '{"test": 2432232314}'
const headers = {
  'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  'webhook-timestamp': '1614265330',
  'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
}
const now = 1_614_265_330_000

test('a message that was signed as the standard says is taken, with the headers of fetch and of node:http', () => {
  expect(verifyWebhook(body, headers, secret, { now })).toEqual({ test: 2_432_232_314 })
  expect(verifyWebhook(Buffer.from(body), new Headers(headers), secret, { now })).toEqual({ test: 2_432_232_314 })
  const rotated = { ...headers, 'webhook-signature': `v1,AAAA v1a,x ${headers['webhook-signature']}` }
  expect(verifyWebhook(body, rotated, secret, { now })).toEqual({ test: 2_432_232_314 })
})

test('anything else is refused', () => {
  const refused = { code: 'WEBHOOK_SIGNATURE_INVALID' }
  const verify = (changes: object, text = body, key = secret, at = now) =>
    expect(() => verifyWebhook(text, { ...headers, ...changes }, key, { now: at }))
  verify({}, `${body} `).toThrow(expect.objectContaining(refused))
  verify({ 'webhook-id': 'other' }).toThrow(expect.objectContaining(refused))
  verify({ 'webhook-timestamp': '1614265331' }).toThrow(expect.objectContaining(refused))
  verify({ 'webhook-timestamp': 'soon' }).toThrow(expect.objectContaining(refused))
  verify({ 'webhook-signature': undefined }).toThrow(expect.objectContaining(refused))
  verify({ 'webhook-signature': '' }).toThrow(expect.objectContaining(refused))
  verify({ 'webhook-signature': 'v1,' }).toThrow(expect.objectContaining(refused))
  verify({}, body, `whsec_${randomBytes(24).toString('base64')}`).toThrow(expect.objectContaining(refused))
  verify({}, body, '').toThrow(expect.objectContaining(refused))
  for (const late of [300_001, -300_001]) verify({}, body, secret, now + late).toThrow(expect.objectContaining(refused))
  for (const near of [299_999, -299_999]) verify({}, body, secret, now + near).not.toThrow()
})

test('whatever is signed with a secret is verified with it, and with no other', () => {
  const secretOf = (bytes: Uint8Array) => `whsec_${Buffer.from(bytes).toString('base64')}`
  const bytes = fc.uint8Array({ minLength: 24, maxLength: 64 })
  fc.assert(
    fc.property(bytes, bytes, fc.json(), fc.uuid(), (key, other, text, id) => {
      const signature = createHmac('sha256', key).update(`${id}.1614265330.${text}`).digest('base64')
      const signed = { ...headers, 'webhook-id': id, 'webhook-signature': `v1,${signature}` }
      expect(verifyWebhook(text, signed, secretOf(key), { now })).toEqual(JSON.parse(text))
      if (!Buffer.from(key).equals(Buffer.from(other)))
        expect(() => verifyWebhook(text, signed, secretOf(other), { now })).toThrow(/signature/)
    }),
  )
})
