// Observe a resource with npm's coap client, or fetch it whole; print each body as one line.
const coap = require('coap')

const [port, path, observe] = process.argv.slice(2)
const request = coap.request({ host: '127.0.0.1', port: Number(port), pathname: path, observe: observe === 'observe' })
request.on('response', (response) => {
  if (observe === 'observe') {
    response.on('data', (chunk) => console.log(chunk.toString()))
  } else {
    console.log(response.payload.toString())
    process.exit(0)
  }
})
request.on('error', (error) => {
  console.error(error)
  process.exit(1)
})
request.end()
