const paint =
  (code: string) =>
  (text: string): string =>
    process.stdout.isTTY && !process.env.NO_COLOR ? `\u001B[${code}m${text}\u001B[0m` : text

/** Colours on a terminal, nothing in a pipe or with NO_COLOR. */
export const dim = paint('2')
export const bold = paint('1')
export const green = paint('32')
export const yellow = paint('33')
export const red = paint('31')
