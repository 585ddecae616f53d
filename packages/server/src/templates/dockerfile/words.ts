import { invalid } from './parse.js'

/** Puts variables in, as Docker does outside of RUN: `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME:+word}`; `\$` is a dollar. */
export function expand(text: string, variables: Readonly<Record<string, string>>, line: number): string {
  return text.replaceAll(
    /\\\$|\$(?:\{([A-Za-z_]\w*)(?:(:[-+])([^{}]*))?\}|([A-Za-z_]\w*)|(\{))/g,
    (whole, braced?: string, operator?: string, word?: string, plain?: string, open?: string) => {
      if (whole === '\\$') return '$'
      if (open !== undefined)
        throw invalid(line, `what follows $\{ is not served; expected $\{NAME}, $\{NAME:-word} or $\{NAME:+word}`)
      const name = (braced ?? plain) as string
      const value = Object.hasOwn(variables, name) ? (variables[name] as string) : ''
      if (operator === ':-') return value || (word ?? '')
      if (operator === ':+') return value ? (word ?? '') : ''
      return value
    },
  )
}

/** Words as a shell tells them apart: quotes hold spaces together, a backslash takes the next sign as it is. */
export function splitWords(text: string, line: number): string[] {
  const words: string[] = []
  let word: string | undefined
  let quote: string | undefined
  for (let at = 0; at < text.length; at++) {
    const sign = text[at] as string
    if (quote === undefined && /\s/.test(sign)) {
      if (word !== undefined) words.push(word)
      word = undefined
      continue
    }
    word ??= ''
    if (sign === quote) quote = undefined
    else if (quote === undefined && (sign === '"' || sign === "'")) quote = sign
    else if (sign === '\\' && quote !== "'" && at + 1 < text.length) word += text[++at]
    else word += sign
  }
  if (quote !== undefined) throw invalid(line, `a ${quote} is not closed`)
  if (word !== undefined) words.push(word)
  return words
}

/** The list of an instruction in the JSON form; undefined where it has the other one. */
export function jsonList(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined
  try {
    const value = JSON.parse(text) as unknown
    if (Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === 'string'))
      return value as string[]
  } catch {
    /* Docker takes it for a shell's text then. */
  }
  return undefined
}
