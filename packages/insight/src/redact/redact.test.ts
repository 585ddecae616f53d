import fc from 'fast-check'
import { expect, test } from 'vitest'
import { redacted, redactor } from './redact.js'

const secret = fc.string({ minLength: 12, maxLength: 40 }).filter((text) => text.trim() === text)

test('a value is gone from a text in each form in which it may stand there', () => {
  fc.assert(
    fc.property(secret, fc.string(), fc.string(), (value, before, after) => {
      const clean = redactor([value])
      const forms = [value, JSON.stringify(value), encodeURIComponent(value), Buffer.from(value).toString('base64')]
      for (const form of forms) {
        const told = clean(`${before} ${form} ${after}`)
        if (!`${before}${after}${redacted}`.includes(value)) expect(told).not.toContain(value)
      }
      const told = clean(`${before} ${value} ${after}`)
      expect(clean(told)).toBe(told)
    }),
  )
})

test('short values stay: they occur in any text', () => {
  expect(redactor(['1', 'true', ''])('it is true that 1 is 1')).toBe('it is true that 1 is 1')
})

test('of two values that begin alike both are gone, and a key of several lines line by line', () => {
  expect(redactor(['abcdefgh', 'abcdefghijkl'])('x abcdefghijkl abcdefgh')).toBe(`x ${redacted} ${redacted}`)
  const key = 'first line of the key\nsecond line of the key'
  expect(redactor([key])('1: second line of the key')).toBe(`1: ${redacted}`)
})

const hidden: [string, string][] = [
  ['key: sk-ant-api03-abcdefghijklmnopqrstuvwxyz', `key: ${redacted}`],
  ['ghp_abcdefghijklmnopqrstuvwxyz0123456789', redacted],
  ['AKIAIOSFODNN7EXAMPLE is there', `${redacted} is there`],
  ['eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N', redacted],
  ['Authorization: Bearer abc.def', `Authorization: Bearer ${redacted}`],
  ['"password": "hunter22", "a": 1', `"password": "${redacted}", "a": 1`],
  ['DB_PASSWORD=hunter22 npm test', `DB_PASSWORD=${redacted} npm test`],
  ['postgres://user:hunter22@db/x', `postgres://user:${redacted}@db/x`],
  ['-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\nrest', `${redacted}\nrest`],
]
test.each(hidden)('%s', (text, told) => {
  expect(redactor([])(text)).toBe(told)
})

test('what is no secret stays as it is, and no text takes long', () => {
  for (const text of ['npm test', 'const password = await ask()', 'https://example.org/a:b', 'task-1234', 'a sk- b'])
    expect(redactor([])(text).replace(redacted, '')).toContain(text.slice(0, 5))
  const clean = redactor(['x'.repeat(20)])
  for (const part of ['a', 'password', '-----BEGIN PRIVATE KEY-----', 'eyJaaaaaaaa.', 'a:', 'sk-', '://', '"'])
    expect(typeof clean(part.repeat(40_000))).toBe('string')
})
