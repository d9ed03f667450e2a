"""Words by language: function words, which hardly any sentence is without, letters, endings, names of months."""

from __future__ import annotations

FUNCTION_WORDS = {
    "english": """the of and to is that for it with was on are be this as at by have from or not but what all were we
        when your can an which there their if will how about has been who do does did its would why should must""",
    "german": """der die das und ist ein eine einen einem einer nicht mit den dem des von zu im auf für sich auch es als
        bei wird sind wie wer wo wann warum welche welcher kann darf muss hat haben werden wurde nach aus um am zum zur
        über noch nur oder aber wenn man kein keine ich wir sie ihr unter vor durch""",
    "french": """le la les des et est une un du en que qui dans pour pas sur au aux avec ce cette ces il elle ils elles
        nous vous se sont par plus ne où quand comment pourquoi quel quelle sa son ses leur être ont était mais ou""",
    "spanish": """el la los las de que y en un una es se no por con para del al lo como más pero sus su le ha está son
        qué cómo cuándo dónde quién cuál fue este esta entre desde hasta sin sobre también ser hay muy o""",
    "portuguese": """o a os as de que e do da dos das em um uma é no na nos nas por com para não se ao à mais como mas
        foi são ou seu sua está quando onde quem qual pelo pela também já até há ser tem""",
    "italian": """il lo la i gli le di che e è un una in del della dei delle nel nella per non con si al alla sono da
        dal come più ma anche questo questa chi dove quando perché quale sul sulla ha o viene tra sua suo alle ai""",
    "dutch": """de het een en van is dat niet op te met voor aan er zijn die in ook als bij of naar om uit wordt door
        maar hoe wat wie waar wanneer welke kan moet heeft hebben worden werd deze dit nog geen over""",
    "swedish": """och att det som en ett är av för på i med den till inte har de om var hur när vad vem vilken kan ska
        måste eller från han hon vi så men blir vid efter under alla detta sin utan också""",
    "danish": """og at det som en et er af for på i med den til ikke har de om var hvordan hvornår hvad hvem hvilken kan
        skal må eller fra han hun vi så men bliver ved efter under alle dette sin uden også blev""",
    "norwegian": """og å at det som en et er av for på i med den til ikke har de om var hvordan når hva hvem hvilken kan
        skal må eller fra han hun vi så men blir ved etter under alle dette sin uten også ble""",
    "finnish": """ja on ei että se hän oli ovat joka mutta kun niin kuin myös mitä missä milloin kuka miksi miten sen
        tai jos vain ole tämä jo sekä ennen jälkeen kanssa voi pitää kaikki ne mikä jossa""",
    "estonian": """ja on ei et see ta oli mis kes aga kui ka nii või oma tema pärast kus millal kuidas miks seda siis
        ning sest veel juba kõik võib peab""",
    "hungarian": """a az és hogy nem van egy is ez meg de volt azt csak mint már ki mi hol mikor hogyan miért melyik
        vagy kell lehet után előtt minden ha el fel ezt aki ami majd""",
    "romanian": """și şi în de la cu pe nu este un o că din pentru mai sau sunt care cum când unde cine se a al ale ce
        dar fost prin după fi va lui ei poate trebuie fără""",
    "turkish": """ve bir bu için ile de da ne mi mı değil olarak çok var daha gibi kadar sonra her o olan ise nasıl
        nerede zaman kim hangi veya ya göre önce ama en""",
    "polish": """i w na z do nie się jest to że o jak po za od czy ale przez co dla są przed tym go tak jego które który
        która kiedy gdzie kto jaki jaka może musi oraz lub być ma pod nad bez""",
    "czech": """a v na je se že s z do i o to ve pro za by jak po ale si co od k u jsou jako kde kdy kdo který která
        které musí může nebo před při bez není být už také má""",
    "catalan": """el la els les de que i en un una és per amb no del al dels als es com més però seu seva són on quan
        qui quin quina aquest aquesta ha està o també fins des""",
    "indonesian": """yang dan di ini itu dengan untuk dari pada tidak adalah ke dalam akan oleh atau ada juga bisa
        sebagai apa siapa kapan bagaimana mengapa mana setelah sebelum harus dapat telah para""",
    "lithuanian": """ir yra kad ne į su iš tai kaip buvo bet o ar per prie už apie jis ji kur kada kas kodėl jau tik
        nuo po turi gali arba dar""",
    "irish": """an na agus is ar ag go i le tá sé sí bhí ní do ach nach faoi gur cad cá conas cathain nuair leis chun
        as don seo sin""",
    "basque": """eta da ez du bat dira zen hau hori ere baina nola non noiz nor zer edo dute egin izan den dago bere""",
    "serbian": """je i u na se da za od su sa o ne kao koji koja koje kako kada gdje gde tko ko što šta ili ali biti
        može mora nije iz do po pri pre prije samo već""",
    "none": """của và là có được không trong cho một các những với này người khi đã từ ở đến về bao nhiêu nào mấy
        un ir nav kas tas par ar no uz ko kur kad ir vai kā bija
        sa ang ng mga ay hindi para kung na ni si ito
        kwa na ya wa ni katika la za kama""",
}
"""Those of `none` are of languages without a stemmer: Vietnamese, Latvian, Tagalog, Swahili."""

LETTERS = {
    "german": "äöüß", "french": "éèêàçùœîôûë", "spanish": "ñ¿¡óíáúé", "portuguese": "ãõçáêéíóúâô", "italian": "àèòùìé",
    "dutch": "ëï", "swedish": "åäö", "danish": "æøå", "norwegian": "æøå", "finnish": "äö", "estonian": "õäöü",
    "hungarian": "őűáéöüóíú", "romanian": "ăâîșțşţ", "turkish": "ığşçöü", "polish": "łąęśżźćńó",
    "czech": "ěřůžščýíáéďť", "catalan": "ç·àèòéíóú", "lithuanian": "ėųįąčęšžū", "serbian": "đćčšž", "irish": "áéíóú",
    "none": "ơưđếạảấầậắặẵớờợởỡữựướượốộồểễệịọụủăāēīūļķņģ",
}  # fmt: skip
"""Letters that a language has and English has not."""
ENDINGS = {
    "english": "ing tion ness ly ght ck ous ful ed ght wn gh th",
    "german": "ung en er lich isch heit keit cht st tz ig sch chen ß",
    "french": "tion eur eux ment aux ent ais ait ez que ée és ie ère oir ouvre",
    "spanish": "ción dad mente ar ando iendo ado ido os as ía ll anza ente ado aje",
    "portuguese": "ção ções dade mente ar ando ão ões nte inho agem eiro em am",
    "italian": "zione tà mente are ere ire etto ello ano ono ato ata ggio cchi gli",
    "dutch": "ing en ij lijk aar aat oor oek uis isch heid tje eel aan ijk",
    "swedish": "ning ar er or en et ad at as nas tet lig ket igt",
    "danish": "ning er ede et en lig hed ger ligt ene else ning",
    "norwegian": "ning er ene et en lig het ger ligt else ning eks",
    "finnish": "ssa ssä lla llä sta stä aan ään een iin nen uu yy tta ttä vat vät ksi isi oi inen an in ää",
    "estonian": "ud ada ide ele est ust lt sse al as mine ja tud",
    "hungarian": "ban ben nak nek ság ség tól ből ról ott ak ek ok ik kor hoz unk ás és át ét ból kkel val vel",
    "romanian": "ul ului ea ii lor ește esc are ilor ție ă ele uri",
    "turkish": "lar ler dan den da de nın nin ır ir mak mek dir dır yor lık lik acak ecek ıyor iyor",
    "polish": "ość ie ych ego ów ami owa ski nie ać eć ić ej ym ną",
    "czech": "ost ní ých ého ů ami ová ský ání ení at it ou ům",
    "catalan": "ció tat ment ar ava às eix ts nt ig ell",
    "indonesian": "an kan nya ah at ang ar as uk",
    "lithuanian": "as is us os ai iai ių mas imas ti ė",
    "serbian": "ti ja je ost ski nje ova ica",
}
"""How words of a language often end."""
_MONTHS = {
    "english": "january february march april may june july august september october november december",
    "german": "januar februar märz april mai juni juli august september oktober november dezember",
    "french": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "spanish": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "portuguese": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "italian": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "dutch": "januari februari maart april mei juni juli augustus september oktober november december",
    "swedish": "januari februari mars april maj juni juli augusti september oktober november december",
    "danish": "januar februar marts april maj juni juli august september oktober november december",
    "norwegian": "januar februar mars april mai juni juli august september oktober november desember",
    "finnish": "tammikuu helmikuu maaliskuu huhtikuu toukokuu kesäkuu heinäkuu elokuu syyskuu lokakuu marraskuu"
    " joulukuu",
    "hungarian": "január február március április május június július augusztus szeptember október november december",
    "polish": "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
    "czech": "ledna února března dubna května června července srpna září října listopadu prosince",
    "romanian": "ianuarie februarie martie aprilie mai iunie iulie august septembrie octombrie noiembrie decembrie",
    "turkish": "ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık",
    "catalan": "gener febrer març abril maig juny juliol agost setembre octubre novembre desembre",
    "indonesian": "januari februari maret april mei juni juli agustus september oktober november desember",
    "russian": "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "greek": "ιανουαρίου φεβρουαρίου μαρτίου απριλίου μαΐου ιουνίου ιουλίου αυγούστου σεπτεμβρίου οκτωβρίου νοεμβρίου"
    " δεκεμβρίου",
}
MONTHS = {language: tuple(names.split()) for language, names in _MONTHS.items()}
"""In the case that they have after the number of a day."""
