// Emoji by the words that find them.
const table = `😀 grinning happy|😄 smile|😁 grin|😂 joy laugh|🤣 rofl|🙂 slight_smile|😉 wink|😊 blush|😇 innocent|😍 heart_eyes love|🥰 adore|😘 kiss|😋 yum|😜 tongue|🤪 zany|🤗 hug|🤭 oops|🤫 shush|🤔 thinking|🤨 raised_eyebrow|😐 neutral|😏 smirk|🙄 eye_roll|😬 grimace|😌 relieved|😴 sleeping|😷 mask|🤒 sick|🤯 mind_blown|🥳 party_face|😎 cool sunglasses|🤓 nerd|😕 confused|😟 worried|😮 wow open_mouth|😳 flushed|🥺 pleading|😢 cry|😭 sob|😱 scream|😤 triumph|😡 angry rage|💀 skull|💩 poop|🤡 clown|👻 ghost|👽 alien|🤖 robot|👋 wave hello|👌 ok_hand|✌️ victory|🤞 fingers_crossed|👈 left|👉 right|👆 up|👇 down|👍 thumbsup yes +1|👎 thumbsdown no -1|✊ fist|👏 clap|🙌 raised_hands|🤝 handshake|🙏 pray thanks|💪 muscle|👀 eyes|🧠 brain|❤️ heart|🧡 orange_heart|💛 yellow_heart|💚 green_heart|💙 blue_heart|💜 purple_heart|🖤 black_heart|💔 broken_heart|💯 hundred|💥 boom|💤 zzz|🐶 dog|🐱 cat|🐭 mouse|🦊 fox|🐻 bear|🐼 panda|🐸 frog|🐵 monkey|🐔 chicken|🐧 penguin|🦄 unicorn|🐝 bee|🐛 bug|🦋 butterfly|🐢 turtle|🐙 octopus|🐳 whale|🌸 blossom|🌹 rose|🌻 sunflower|🌲 tree|🌵 cactus|🍀 clover luck|🍁 maple|🌍 earth|🌙 moon|⭐ star|☀️ sun|☁️ cloud|🌈 rainbow|❄️ snowflake|🔥 fire|💧 drop|🌊 ocean|🍎 apple|🍌 banana|🍓 strawberry|🍉 watermelon|🍕 pizza|🍔 burger|🍟 fries|🍜 noodles|🍣 sushi|🍚 rice|🍰 cake|🎂 birthday|🍩 doughnut|🍪 cookie|🍫 chocolate|☕ coffee|🍵 tea|🍺 beer|🍻 cheers|🍷 wine|⚽ soccer|🏀 basketball|🎮 game|🎲 dice|🎯 target|🎨 art|🎵 music|🎸 guitar|🎤 microphone|🎬 film|🏆 trophy|🥇 first|🚗 car|🚕 taxi|🚌 bus|🚲 bicycle|✈️ airplane|🚀 rocket ship|🏠 house|🏢 office|⛺ tent|⏰ alarm|⌛ hourglass|📱 phone|💻 laptop computer|🖥️ desktop|🖨️ printer|📷 camera|💡 idea bulb|🔋 battery|🔌 plug|💰 money|💎 gem|🔧 wrench|🔨 hammer|🔒 lock|🔑 key|📦 package|📎 paperclip|📌 pin|📅 calendar|📈 chart_up|📉 chart_down|📖 book|✏️ pencil|📝 memo|✉️ mail|🔍 search|🎁 gift|🎉 tada party|🎈 balloon|✅ check done|❌ cross|❗ exclamation|❓ question|⚠️ warning|♻️ recycle|➕ plus|➖ minus|🔴 red|🟢 green|🔵 blue|🏁 finish|🇰🇷 korea`;

export const emoji = table.split('|').map((row) => {
  const [sign, ...words] = row.split(' ');
  return { sign, words };
});

// find returns the emoji that a word finds, those that begin with it first.
export function find(word, most = 200) {
  const w = word.toLowerCase();
  const begins = emoji.filter((e) => e.words.some((x) => x.startsWith(w)));
  const has = emoji.filter((e) => !begins.includes(e) && e.words.some((x) => x.includes(w)));
  return [...begins, ...has].slice(0, most);
}
