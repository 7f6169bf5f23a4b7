// The health check: does the server beside us answer?
const port = process.env.PORT ?? '8080'
const answer = await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined)
process.exit(answer?.ok ? 0 : 1)
