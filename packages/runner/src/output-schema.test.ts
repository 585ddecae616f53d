import { expect, test } from 'vitest'
import { OutputSchema } from './output-schema.js'

const person = {
  type: 'object',
  properties: { name: { type: 'string' }, age: { type: 'integer', minimum: 0 } },
  required: ['name'],
  additionalProperties: false,
}

test.each([undefined, 'http://json-schema.org/draft-07/schema#', 'https://json-schema.org/draft/2020-12/schema'])(
  'a value is told where it differs (%s)',
  (draft) => {
    const schema = OutputSchema.of({ ...(draft ? { $schema: draft } : {}), ...person })
    expect(schema.problem({ name: 'Ada', age: 36 })).toBeUndefined()
    expect(schema.problem({ name: 'Ada', age: -1 })).toBe('/age must be >= 0')
    expect(schema.problem({ age: 1 })).toBe("the object must have required property 'name'")
    expect(schema.problem(undefined)).toBe('the object must be object')
  },
)

test('what is no schema is refused', () => {
  expect(() => OutputSchema.of({ type: 'object', properties: 7 })).toThrow(/output is no usable JSON Schema/)
  expect(() => OutputSchema.of({ $ref: 'https://example.com/schema' })).toThrow(/output is no usable JSON Schema/)
})

test('a pattern that takes for ever is ended', () => {
  const schema = OutputSchema.of({ type: 'object', properties: { text: { type: 'string', pattern: '^(a+)+$' } } })
  expect(schema.problem({ text: 'aaa' })).toBeUndefined()
  expect(schema.problem({ text: `${'a'.repeat(60)}!` })).toMatch(/could not be checked: .*timed out/)
})
