import fc from 'fast-check'
import { expect, test } from 'vitest'
import { jsonLine, printable, printableLine } from './printable.js'

// oxlint-disable-next-line no-control-regex -- what must not be there
const control = /[\u0000-\u0008\u000B-\u001F\u007F-\u009F\u202A-\u202E\u2066-\u2069]/

test.each([
  ['colours', '\u001B[31mred\u001B[0m', 'red'],
  ['a title', '\u001B]0;pwned\u0007ok', 'ok'],
  ['an eight-bit sequence', '\u009B2Jcleared', 'cleared'],
  ['a sequence in a sequence', '\u001B\u001B[0m[31mtwice', '␛[31mtwice'],
  ['the beginning of a sequence', 'half \u001B', 'half ␛'],
  ['carriage returns', '10%\r100%\r\ndone', '10%\n100%\ndone'],
  ['a bell, a backspace and a delete', 'a\u0007b\bc\u007F', 'a␇b␈c␡'],
  ['text that runs backwards', 'abc\u202Edef', 'abcdef'],
  ['newlines and tabs', 'a\tb\nc', 'a\tb\nc'],
])('%s only show', (_name, text, shown) => {
  expect(printable(text)).toBe(shown)
})

test('no control character passes, whatever the text, and pieces of a sequence do not join', () => {
  const piece = fc.oneof(
    fc.constantFrom('\u001B', '[', ']', '31m', '0;', '\u0007', '\u009B', '\u0090', '\u001B\\', '\r', 'x'),
    fc.string({ unit: 'binary' }),
  )
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      expect(printable(pieces.join(''))).not.toMatch(control)
      expect(pieces.map(printable).join('')).not.toMatch(control)
    }),
  )
})

test('one line stays one line, and is cut by characters, not by halves of them', () => {
  expect(printableLine('a\n\tb  c')).toBe('a b c')
  expect(printableLine('😀😀😀😀', 3)).toBe('😀😀…')
})

test('a line of JSON has no control characters and says the same', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const line = jsonLine({ text })
      expect(line.slice(0, -1)).not.toMatch(/\p{Cc}/u)
      expect(JSON.parse(line)).toEqual({ text })
    }),
  )
})
