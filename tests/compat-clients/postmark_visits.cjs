// Asks with Postmark's own client who opened and clicked, and prints the answers, as one JSON object.
const postmark = require('postmark');
const { POSTROAD_URL: url, POSTROAD_KEY: key } = process.env;

(async () => {
  const client = new postmark.ServerClient(key, { useHttps: false, requestHost: new URL(url).host });
  const message = process.argv[2];
  const out = {};
  out.opens = await client.getMessageOpens({ tag: 'seen', recipient: 'ann@example.net', messageStream: 'outbound' });
  out.clicks = await client.getMessageClicks({ tag: 'seen' });
  out.opensOfOne = await client.getMessageOpensForSingleMessage(message);
  out.clicksOfOne = await client.getMessageClicksForSingleMessage(message);
  out.others = (await client.getMessageOpens({ tag: 'another' })).TotalCount;
  out.nobody = (await client.getMessageClicks({ recipient: 'bob@example.net' })).TotalCount;
  out.unknown = await client.getMessageOpensForSingleMessage('none').then(() => null, error => error.statusCode);
  console.log(JSON.stringify(out));
})().catch(error => { console.error(error); process.exit(1); });
